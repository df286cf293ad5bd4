"""What is stored, for how long, and how old it is on arrival: RFC 9111 §3 and §4.2 as tables."""

from __future__ import annotations

import pytest

from minicdn.core.freshness import NotStored, Policy, Stored, storable
from minicdn.core.lifetime import parse_age
from tests.unit.core.making import NOW, POLICY, answer, date, get, judged, kept, values

DAY = 24 * 3600
ALL_STATUSES = [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599]


@pytest.mark.parametrize(
    ("written", "seconds", "decided_by"),
    [
        (["Cache-Control: max-age=60"], 60, "cache-control: max-age"),
        (["Cache-Control: max-age=60, s-maxage=9"], 9, "cache-control: s-maxage"),
        (["Cache-Control: max-age=0, s-maxage=9", f"Expires: {date(-9)}"], 9, "cache-control: s-maxage"),
        (["Cache-Control: max-age=60", "Expires: 0"], 60, "cache-control: max-age"),
        (["Cache-Control: max-age=0", f"Expires: {date(60)}"], 0, "cache-control: max-age"),
        (["Cache-Control: max-age=x", f"Expires: {date(60)}"], 0, "cache-control: max-age"),
        (["Cache-Control: max-age=99999999999"], 2**31, "cache-control: max-age"),
        (["CDN-Cache-Control: max-age=5", "Cache-Control: no-store"], 5, "cdn-cache-control: max-age"),
        (["CDN-Cache-Control: max-age=5", "Cache-Control: s-maxage=60"], 5, "cdn-cache-control: max-age"),
        (["CDN-Cache-Control: public", f"Expires: {date(60)}", "Cache-Control: max-age=60"], 0, "nothing"),
        (["CDN-Cache-Control: &", "Cache-Control: max-age=60"], 60, "cache-control: max-age"),
        (["MiniCDN-CDN-Cache-Control: max-age=4", "CDN-Cache-Control: no-store"], 4, "minicdn-cdn-cache-control: max-age"),
        # Expires − Date.
        ([f"Expires: {date(60)}", f"Date: {date()}"], 60, "expires"),
        ([f"Expires: {date(60)}"], 60, "expires"),
        ([f"Expires: {date(60)}", "Date: foo"], 60, "expires"),
        ([f"Expires: {date(300)}", f"Date: {date(400)}"], 0, "expires"),
        ([f"Expires: {date(100)}", f"Date: {date(40)}"], 60, "expires"),
        ([f"Expires: {date()}", f"Date: {date()}"], 0, "expires"),
        (["Expires: Sunday, 06-Nov-94 08:50:37 GMT"], 60, "expires"),
        (["Expires: Sun Nov  6 08:50:37 1994"], 60, "expires"),
        (["Expires: Fri, 31 Dec 9999 23:59:59 GMT"], 2**31, "expires"),
        ([f"Expires: {date(60)}", f"Expires: {date(60)}"], 60, "expires"),
        # Not a date, or two: already past (RFC 9111 §5.3).
        (["Expires: 0"], 0, "expires"),
        (["Expires:"], 0, "expires"),
        ([f"Expires: {date(60)}", f"Expires: {date(90)}"], 0, "expires"),
        ([f"Expires: {date(60)}", "Expires: 0"], 0, "expires"),
        (["Expires: Sun, 06 Nov 1994 08:50:37 UTC"], 0, "expires"),
    ],
)
def test_lifetime(written, seconds, decided_by):
    stored = kept(*written, 'ETag: "a"')
    assert (stored.lifetime_seconds, stored.decided_by) == (seconds, decided_by)


@pytest.mark.parametrize(
    ("status", "more", "seconds"),
    [
        *((status, [], 1000) for status in (200, 203, 204, 206, 300, 301, 308)),
        *((status, [], 10) for status in (404, 405, 410, 414, 501)),
        *((status, ["Cache-Control: public"], 1000) for status in (200, 201, 299, 302, 500, 599)),
        (404, ["Cache-Control: public"], 10),
    ],
)
def test_a_lifetime_that_nobody_gave_is_guessed(status, more, seconds):
    stored = kept(f"Last-Modified: {date(-10_000)}", f"Date: {date()}", *more, status=status)
    assert stored.lifetime_seconds == seconds


@pytest.mark.parametrize("status", [201, 202, 302, 303, 307, 400, 401, 403, 429, 500, 502, 503, 504, 599])
def test_nothing_is_guessed_of_other_statuses(status):
    assert isinstance(judged(f"Last-Modified: {date(-10_000)}", f"Date: {date()}", status=status), NotStored)


@pytest.mark.parametrize("modified", [date(9), "yesterday", "", date(0)])
def test_no_guess_without_a_change_in_the_past(modified):
    assert kept(f"Last-Modified: {modified}", f"Date: {date()}").lifetime_seconds == 0


def test_a_guess_has_a_longest_length_and_can_be_switched_off():
    written = ["Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"]
    assert kept(*written).lifetime_seconds == DAY
    assert kept(*written, policy=Policy(heuristic=False)).lifetime_seconds == 0
    assert kept(*written, policy=Policy(heuristic_max_seconds=5)).lifetime_seconds == 5


def test_errors_without_a_lifetime_are_kept_shortly_or_not_at_all():
    assert kept(status=404).decided_by == "negative caching"
    assert kept(status=404, policy=Policy(negative_seconds=3)).lifetime_seconds == 3
    assert isinstance(judged(status=404, policy=Policy(negative_seconds=0)), NotStored)
    assert kept("Cache-Control: max-age=60", status=404).lifetime_seconds == 60


def test_the_operator_gives_lifetimes_by_path():
    policy = Policy(default_ttls=(("/simple/*", 600), ("*.deb", 3600)))
    assert kept("ETag: x", request=get(key="/simple/a"), policy=policy).lifetime_seconds == 600
    assert kept(request=get(key="/pool/a.deb"), policy=policy).decided_by == "default ttl of *.deb"
    assert kept("Cache-Control: max-age=5", request=get(key="/pool/a.deb"), policy=policy).lifetime_seconds == 5
    assert kept(status=404, request=get(key="/pool/a.deb"), policy=policy).lifetime_seconds == 10
    assert isinstance(judged(request=get(key="/other"), policy=policy), NotStored)


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_any_final_status_with_a_lifetime_is_stored(status):
    assert kept("Cache-Control: max-age=60", status=status).head.status == status


@pytest.mark.parametrize("status", [100, 101, 103, 304, 407, 408, 412, 416])
def test_answers_about_one_request_are_not_stored(status):
    assert isinstance(judged("Cache-Control: max-age=60", status=status), NotStored)


@pytest.mark.parametrize(
    "written",
    [
        ["Cache-Control: no-store"],
        ["Cache-Control: nO-StOrE, max-age=60"],
        ["Cache-Control: max-age=60", "Cache-Control: no-store", f"Expires: {date(60)}"],
        ["Cache-Control: private, max-age=60"],
        ["Cache-Control: private, public, s-maxage=60"],
        ["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"],
        ["CDN-Cache-Control: private", "Cache-Control: max-age=60", f"Expires: {date(60)}"],
        ['CDN-Cache-Control: max-age="60"', "Cache-Control: no-store"],
        # Nothing could ever be made of these.
        [],
        ["Cache-Control: no-cache"],
        ["Cache-Control: max-age=60, no-cache"],
        ["Cache-Control: max-age=60", "Vary: *"],
    ],
)
def test_not_stored(written):
    assert isinstance(judged(*written), NotStored)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "M-SEARCH"])
def test_only_answers_to_get_are_stored(method):
    assert isinstance(judged("Cache-Control: max-age=60, public", request=get(method=method)), NotStored)


@pytest.mark.parametrize(("status", "is_stored"), [(200, True), (404, True), (599, False), (299, False)])
def test_must_understand_stands_instead_of_no_store(status, is_stored):
    outcome = judged("Cache-Control: max-age=60, no-store, must-understand", status=status)
    assert isinstance(outcome, Stored) is is_stored
    if is_stored:
        assert not outcome.always_validate


@pytest.mark.parametrize(
    ("directives", "is_stored"),
    [
        ("max-age=60", False),
        ("max-age=60, public", True),
        ("s-maxage=60", True),
        ("max-age=60, must-revalidate", True),
        ("immutable", False),
    ],
)
def test_answers_to_authorized_requests(directives, is_stored):
    outcome = judged(f"Cache-Control: {directives}", request=get("Authorization: Basic eA=="))
    assert isinstance(outcome, Stored) is is_stored


def test_a_client_can_ask_for_no_trace_where_the_operator_lets_it():
    request = get("Cache-Control: no-store")
    assert isinstance(judged("Cache-Control: max-age=60", request=request), NotStored)
    assert isinstance(judged("Cache-Control: max-age=60", request=request, policy=Policy(obey_request_directives=False)), Stored)


@pytest.mark.parametrize(
    "written",
    [
        ["Cache-Control: no-cache", 'ETag: "a"'],
        ["Cache-Control: max-age=60, No-CaChE", f"Last-Modified: {date(-60)}"],
        ["CDN-Cache-Control: no-cache", "Cache-Control: max-age=60", 'ETag: "a"'],
    ],
)
def test_no_cache_is_stored_to_be_validated(written):
    stored = kept(*written)
    assert stored.always_validate and not stored.may_serve_stale


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
def test_what_forbids_serving_stale(directive):
    stored = kept(f"Cache-Control: max-age=60, stale-while-revalidate=60, stale-if-error=60, {directive}", 'ETag: "a"')
    assert not stored.may_serve_stale
    assert stored.stale_while_revalidate_seconds == stored.stale_if_error_seconds == 0


@pytest.mark.parametrize(
    ("written", "status", "seconds"),
    [
        ("max-age=60", 200, 7 * DAY),
        ("max-age=60, stale-if-error=5", 200, 5),
        ("max-age=60, stale-if-error=0", 200, 0),
        ("max-age=60, stale-if-error=x", 200, 0),
        ("max-age=60", 404, 0),
        ("max-age=60, stale-if-error=5", 404, 5),
    ],
)
def test_grace(written, status, seconds):
    assert kept(f"Cache-Control: {written}", status=status).stale_if_error_seconds == seconds


def test_fields_are_stored_whole_but_for_those_of_the_hop():
    stored = kept(
        "Connection: a, close",
        "A: 1",
        "Cache-Control: max-age=60",
        "Content-Encoding: whatever",
        "Content-Range: whatever",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
        "Age: 5",
        f"Date: {date()}",
        "Keep-Alive: timeout=5",
        "Transfer-Encoding: chunked",
        "Unknown: \xff",
    )
    assert [name for name, _ in stored.head.fields] == [
        *(b"Cache-Control", b"Content-Encoding", b"Content-Range", b"Set-Cookie", b"Set-Cookie", b"Date", b"Unknown"),
    ]


def test_private_fields_are_not_kept_and_no_cache_fields_are_withheld():
    stored = kept('Cache-Control: max-age=60, private="a", no-cache="B"', "A: 1", "b: 2", "C: 3")
    assert values(stored.head.fields, "a") == [] and values(stored.head.fields, "b") == ["2"]
    assert stored.withheld == frozenset((b"b",)) and not stored.always_validate


@pytest.mark.parametrize("written", [[], ["Date: foo"], ["Date:"]])
def test_a_date_that_cannot_be_read_is_replaced(written):
    stored = kept("Cache-Control: max-age=60", *written)
    assert values(stored.head.fields, "date") == [date()] and stored.date_at == NOW


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        (["30"], 30),
        (["0"], 0),
        ([" 30 "], 30),
        (["30, 40"], 30),
        (["30", "40"], 30),
        (["abc, 40"], 40),
        (["abc", "40"], 40),
        (["-30"], 0),
        (["30.5"], 0),
        (["abc"], 0),
        ([""], 0),
        (["9" * 5000], 2**31),
        ([], 0),
    ],
)
def test_age_is_its_first_valid_member(age, seconds):
    assert parse_age([value.encode() for value in age]) == seconds


@pytest.mark.parametrize(
    ("written", "delay", "age"),
    [
        ([], 0, 0),
        (["Age: 30"], 0, 30),
        (["Age: 30"], 2, 32),
        ([], 2, 2),
        ([f"Date: {date(-50)}"], 0, 50),
        ([f"Date: {date(-50)}", "Age: 30"], 2, 50),
        ([f"Date: {date(-20)}", "Age: 30"], 2, 32),
        ([f"Date: {date(50)}"], 0, 0),
        ([f"Date: {date(10)}", "Age: 15"], 0, 15),
    ],
)
def test_age_on_arrival(written, delay, age):
    stored = kept("Cache-Control: max-age=3600", *written, delay=delay)
    assert stored.initial_age_seconds == age
    assert stored.fresh_until == NOW + 3600 - age


def test_half_a_second_of_rounding_is_no_age():
    arrived = NOW + 0.9
    stored = storable(get(), answer("Cache-Control: max-age=1", f"Date: {date()}"), arrived, arrived, POLICY)
    assert stored.initial_age_seconds == 0
