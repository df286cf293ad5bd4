from __future__ import annotations

import json

import pytest

from minicdn.core.decide import Fetch, Refuse, Serve, Validate, decide
from minicdn.core.explain import facts, in_words
from minicdn.core.freshness import expire
from tests.unit.core.making import NOW, POLICY, date, get, kept


@pytest.mark.parametrize(
    ("written", "lifetime", "decided_by"),
    [
        (["Cache-Control: max-age=60"], 60, "cache-control: max-age"),
        (["Cache-Control: max-age=60, s-maxage=90"], 90, "cache-control: s-maxage"),
        (["CDN-Cache-Control: max-age=5", "Cache-Control: max-age=60"], 5, "cdn-cache-control: max-age"),
        ([f"Expires: {date(30)}", f"Date: {date()}"], 30, "expires"),
        (["ETag: x"], 0, "nothing"),
    ],
)
def test_which_field_decided(written: list[str], lifetime: float, decided_by: str) -> None:
    found = facts(kept(*written), NOW)
    assert (found["lifetime_seconds"], found["decided_by"]) == (lifetime, decided_by)
    assert json.loads(json.dumps(found)) == found


def test_fresh_until_when_and_stale_since_when() -> None:
    stored = kept("Cache-Control: max-age=60", "Age: 20")
    found = facts(stored, NOW + 10)
    assert (found["is_fresh"], found["age_seconds"], found["fresh_seconds"], found["fresh_until"]) == (True, 30, 30, date(40))
    found = facts(stored, NOW + 50)
    assert (found["is_fresh"], found["fresh_seconds"], found["fresh_until"]) == (False, -10, date(40))
    purged = facts(expire(stored, NOW + 10), NOW + 15)
    assert (purged["is_fresh"], purged["fresh_seconds"], purged["fresh_until"]) == (False, -5, date(10))
    assert not facts(kept("Cache-Control: no-cache, max-age=60", "ETag: x"), NOW)["is_fresh"]


def test_tags_and_vary() -> None:
    stored = kept("Cache-Control: max-age=60", "Surrogate-Key: b a", "Vary: Accept, X-None", request=get("Accept: text/html"))
    found = facts(stored, NOW)
    assert found["tags"] == ["a", "b"] and found["vary"] == {"accept": "text/html", "x-none": None}
    assert facts(kept("Cache-Control: max-age=60", "Vary: *", "ETag: x"), NOW)["vary"] == "*"


@pytest.mark.parametrize(
    ("plan", "action", "word"),
    [
        (Serve(stale=False, refresh=False, detail="fresh"), "serve", "fresh"),
        (Serve(stale=True, refresh=True, detail="stale-while-revalidate"), "serve stale", "refreshed"),
        (Serve(stale=True, refresh=False, detail="max-stale"), "serve stale", "max-stale"),
        (Validate("stale", True), "validate", "may stand in"),
        (Validate("no-cache", False), "validate", "may not stand in"),
        (Fetch("nothing is stored"), "fetch", "nothing"),
        (Refuse(504, "only-if-cached"), "refuse", "504"),
    ],
)
def test_each_plan_has_its_words(plan, action: str, word: str) -> None:
    found = in_words(plan)
    assert found["action"] == action and word in found["reason"]


def test_what_is_explained_is_what_would_be_done() -> None:
    stored = kept("Cache-Control: max-age=60")
    for after in (0, 59, 61):
        plan = decide(get(), stored, NOW + after, POLICY)
        assert (in_words(plan)["action"] == "serve") == facts(stored, NOW + after)["is_fresh"]
