from __future__ import annotations

from dataclasses import replace

import pytest

from minicdn.core.freshness import age_seconds, expire, from_facts, from_wire, is_fresh, served_fields, to_facts, to_wire
from minicdn.core.message import Head
from tests.unit.core.making import NOW, kept, values

STORED = kept(
    'Cache-Control: max-age=60, stale-while-revalidate=30, no-cache="X-Secret"',
    'ETag: "a"',
    "X-Secret: 1",
    "Vary: Accept, Foo",
    "Surrogate-Key: t1 t2",
    "Age: 10",
)


def test_age_grows_by_the_second_and_never_shrinks():
    assert [age_seconds(STORED, NOW + after) for after in (0, 0.9, 1, 49.5, 50)] == [10, 10, 11, 59, 60]
    assert age_seconds(STORED, NOW - 100) == 10


def test_freshness_ends_when_the_lifetime_is_reached():
    assert is_fresh(STORED, NOW + 49.999) and not is_fresh(STORED, NOW + 50)


def test_age_is_sent_and_withheld_fields_are_not():
    fields = served_fields(STORED, 15)
    assert fields[-1] == (b"Age", b"15")
    assert values(fields, "x-secret") == [] and values(served_fields(STORED, 0, validated=True), "x-secret") == ["1"]
    assert fields[:-1] == [line for line in STORED.head.fields if line[0] != b"X-Secret"]


def test_it_survives_the_wire_whole():
    plain = to_wire(STORED)
    assert from_wire(plain) == STORED
    star = replace(STORED, selecting=None)
    assert from_wire(to_wire(star)) == star
    assert from_wire(plain | {"from a later version": 1}) == STORED


@pytest.mark.parametrize(
    "broken",
    [
        *(None, [], 5, "text", {}),
        {"head": [200]},
        {"head": [200, [["A", b"1"]]]},
        {"head": [99, []]},
        {"head": ["200", []]},
        {"fresh_until": float("nan")},
        {"fresh_until": "soon"},
        {"fresh_until": None},
        {"lifetime_seconds": float("inf")},
        {"lifetime_seconds": 10**400},
        {"always_validate": 1},
        {"tags": [1]},
        {"tags": None},
        {"selecting": [[b"a"]]},
        {"selecting": [["a", b"1"]]},
        {"withheld": ["a"]},
        {"decided_by": b"x"},
    ],
)
def test_what_is_no_stored_response_is_refused(broken):
    if isinstance(broken, dict) and broken:
        broken = to_wire(STORED) | broken
    with pytest.raises(ValueError):
        from_wire(broken)


@pytest.mark.parametrize("missing", ["head", "selecting", "fresh_until", "response_at"])
def test_nothing_essential_may_be_missing(missing):
    plain = to_wire(STORED)
    del plain[missing]
    with pytest.raises(ValueError):
        from_wire(plain)


def test_age_travels_rather_than_the_clock():
    """A receiver whose clock is a day ahead still sees the same age and the same rest of the lifetime."""
    there = NOW + 86_400
    received = from_facts(to_facts(STORED), STORED.head, age_seconds(STORED, NOW + 20), there)
    assert age_seconds(received, there) == 30
    assert received.lifetime_seconds == STORED.lifetime_seconds
    assert received.fresh_until == there + 30
    assert received.date_at == STORED.date_at


def test_facts_are_read_as_strictly_as_a_record():
    facts = to_facts(STORED)
    rest = {"request_at": NOW, "response_at": NOW, "initial_age_seconds": 7.0, "fresh_until": NOW + STORED.lifetime_seconds - 7}
    assert from_facts(facts, STORED.head, 7, NOW) == replace(STORED, **rest)
    assert from_facts([*facts, "from a later version"], STORED.head, 7, NOW) == from_facts(facts, STORED.head, 7, NOW)
    for wrong in (None, "text", facts[:-1], {}):
        with pytest.raises(ValueError):
            from_facts(wrong, STORED.head, 7, NOW)
    for index, value in enumerate(facts):
        for odd in (object(), float("nan"), -1 if isinstance(value, bool) else [[1]]):
            with pytest.raises(ValueError):
                from_facts([*facts[:index], odd, *facts[index + 1 :]], STORED.head, 7, NOW)


def test_expired_is_stale_at_once_and_keeps_its_grace():
    purged = expire(STORED, NOW + 5)
    assert not is_fresh(purged, NOW + 5) and purged.stale_while_revalidate_seconds == 0
    assert purged.stale_if_error_seconds == STORED.stale_if_error_seconds
    assert purged.head == STORED.head and age_seconds(purged, NOW + 6) == age_seconds(STORED, NOW + 6)
    assert not is_fresh(from_facts(to_facts(purged), purged.head, 15, NOW), NOW) and purged.fresh_until == NOW + 5


def test_expiring_what_is_stale_prolongs_nothing():
    late = NOW + 1000
    assert expire(STORED, late).fresh_until == STORED.fresh_until
    assert expire(expire(STORED, late), late + 9) == expire(STORED, late)


def test_a_head_is_a_tuple_after_the_wire():
    assert from_wire(to_wire(STORED)).head == Head(200, tuple(STORED.head.fields))
