"""Another cache's opinion: hishel 2 as oracle for what is stored and what is served without asking.

Both are given the same answer to the same GET, and the same second request some time later. Each must say whether the answer is stored,
and whether it is served as it is. Where they differ, one of EXPLAINED must say why, with the clause that lets us (or makes us) differ; each
explanation brings a case in which it is needed, so none outlives its reason. What hishel does not know at all (Age, targeted fields,
ranges) is left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core.cachecontrol import of_request, of_response
from minicdn.core.dates import format_http_date
from minicdn.core.decide import Serve, decide
from minicdn.core.lifetime import HEURISTIC_STATUSES, Policy
from minicdn.core.message import Head, Request
from minicdn.core.ruling import ABOUT_ONE_REQUEST
from minicdn.core.stored import NotStored
from minicdn.core.storing import storable

hishel = pytest.importorskip("hishel")
spec = pytest.importorskip("hishel._core._spec")

NOW = 1_790_000_000
DAY = 24 * 3600


@dataclass(frozen=True)
class Case:
    """An answer, and a request `later` seconds after it. Lines of response and requests as (name, value); `date` is how old it arrives."""

    status: int = 200
    control: tuple[str, ...] = ()
    expires: int | str | None = None
    modified: int | None = None
    tag: str | None = None
    date: int = 0
    vary: str | None = None
    asked: tuple[tuple[str, str], ...] = ()
    later: int = 0
    asks: tuple[tuple[str, str], ...] = ()

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The answer's field lines."""
        date = NOW - self.date
        found = [("Date", _text(date))] + [("Cache-Control", value) for value in self.control]
        if self.expires is not None:
            found.append(("Expires", self.expires if isinstance(self.expires, str) else _text(date + self.expires)))
        if self.modified is not None:
            found.append(("Last-Modified", _text(date - self.modified)))
        if self.tag is not None:
            found.append(("ETag", self.tag))
        if self.vary is not None:
            found.append(("Vary", self.vary))
        return found


def _text(at: float) -> str:
    return format_http_date(at).decode()


@dataclass(frozen=True)
class Opinion:
    is_stored: bool
    is_served: bool


def _octets(lines: object) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower().encode(), value.encode()) for name, value in lines)  # type: ignore[attr-defined]


def ours(case: Case) -> Opinion:
    head = Head(case.status, tuple((name.encode(), value.encode()) for name, value in case.lines))
    stored = storable(Request("GET", b"/", "/", _octets(case.asked)), head, NOW, NOW, POLICY)
    if isinstance(stored, NotStored):
        return Opinion(False, False)
    plan = decide(Request("GET", b"/", "/", _octets(case.asks)), stored, NOW + case.later, POLICY)
    return Opinion(True, isinstance(plan, Serve))


def theirs(case: Case) -> Opinion:
    url, options = "http://h/", spec.CacheOptions(shared=True, supported_methods=["GET", "HEAD"], allow_stale=False)
    first = hishel.Request(method="GET", url=url, headers=hishel.Headers(_by_name(case.asked)))
    response = hishel.Response(status_code=case.status, headers=hishel.Headers(_by_name(case.lines)))
    with mock.patch.object(spec.time, "time", return_value=float(NOW)):
        stored = spec.CacheMiss(request=first, options=options).next(response)
    if not isinstance(stored, spec.StoreAndUse):
        return Opinion(False, False)
    second = hishel.Request(method="GET", url=url, headers=hishel.Headers(_by_name(case.asks)))
    entry = hishel.Entry(id=uuid.UUID(int=0), request=first, response=stored.response)
    with mock.patch.object(spec.time, "time", return_value=float(NOW + case.later)):
        state = spec.IdleClient(options=options).next(second, [entry])
    return Opinion(True, isinstance(state, spec.FromCache))


def _by_name(lines: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in lines:  # type: ignore[attr-defined]
        found.setdefault(name, []).append(value)
    return found


POLICY = Policy()


@dataclass(frozen=True)
class Explanation:
    """Why we differ. differs: whether this reason may be at work in a case. accounts: for which opinions. case: one that needs it."""

    clause: str
    why: str
    differs: Callable[[Case], bool]
    accounts: Callable[[Opinion, Opinion], bool]
    case: Case


def _directives(case: Case) -> object:
    return of_response(_octets(case.lines))[0]


def _says(case: Case, name: str) -> bool:
    return any(part.strip().lower().partition("=")[0].strip() == name for value in case.control for part in value.split(","))


def _wishes(case: Case, *names: str) -> bool:
    return any(getattr(of_request(_octets(case.asks)), name) not in (None, False) for name in names)


def _is_odd_number(value: str) -> bool:
    _, equals, number = value.partition("=")
    return value.partition("=")[0].strip().lower() in ("max-age", "s-maxage") and not (equals and number.strip('"').isdigit())


def _has_odd_numbers(case: Case) -> bool:
    parts = [part.strip() for value in case.control for part in value.split(",")]
    numbers = [part for part in parts if part.lower().startswith(("max-age", "s-maxage"))]
    names = [part.partition("=")[0].strip().lower() for part in numbers]
    return any(map(_is_odd_number, numbers)) or len(names) != len(set(names))


def _is_doubled(case: Case) -> bool:
    """private or no-cache, once with field names and once without."""
    words = ", ".join(case.control)
    return any(f'{name}="' in words and name in words.replace(f'{name}="', "") for name in ("private", "no-cache"))


def _is_unsaid(case: Case) -> bool:
    """No lifetime is said in the answer."""
    return case.expires is None and not any(_says(case, name) for name in ("max-age", "s-maxage"))


def _we_ask(mine: Opinion, other: Opinion) -> bool:
    return not mine.is_served and other.is_served


def _we_serve(mine: Opinion, other: Opinion) -> bool:
    return mine.is_served and not other.is_served


def _we_do_not_store(mine: Opinion, other: Opinion) -> bool:
    return not mine.is_stored and other.is_stored


def _we_store(mine: Opinion, other: Opinion) -> bool:
    return mine.is_stored and not other.is_stored


def _either(mine: Opinion, other: Opinion) -> bool:
    return True


FRESH = Case(control=("max-age=60",), tag='"a"')
EXPLAINED = (
    Explanation(
        "RFC 9111 §5.2.1.1, §5.2.1.3", "a client's max-age and min-fresh are obeyed",
        lambda case: _wishes(case, "max_age", "min_fresh"), _we_ask,
        replace(FRESH, later=30, asks=(("Cache-Control", "max-age=10"),)),
    ),
    Explanation(
        "RFC 9111 §5.2.1.2", "a client's max-stale is granted",
        lambda case: _wishes(case, "max_stale"), _we_serve,
        replace(FRESH, later=90, asks=(("Cache-Control", "max-stale=60"),)),
    ),
    Explanation(
        "RFC 9111 §5.4", "Pragma: no-cache counts where there is no Cache-Control",
        lambda case: any(name == "Pragma" for name, _ in case.asks), _we_ask,
        replace(FRESH, asks=(("Pragma", "no-cache"),)),
    ),
    Explanation(
        "RFC 9111 §5.2.1.5", "a client's no-store is obeyed",
        lambda case: of_request(_octets(case.asked)).no_store, _we_do_not_store,
        replace(FRESH, asked=(("Cache-Control", "no-store"),)),
    ),
    Explanation(
        "RFC 9111 §4.2.1", "a lifetime that is no number, or two that differ, mean stale; hishel goes to the next rule, or takes the last",
        _has_odd_numbers, _either,
        Case(control=("max-age=60, max-age=600",), later=300),
    ),
    Explanation(
        "RFC 9111 §5.2.2.3", "must-understand makes no-store mute where the status is understood",
        lambda case: _says(case, "must-understand") and _says(case, "no-store"), _we_store,
        Case(control=("max-age=60, must-understand, no-store",)),
    ),
    Explanation(
        "RFC 9111 §5.2.2.3", "must-understand forbids storing what is not understood",
        lambda case: _says(case, "must-understand") and case.status not in HEURISTIC_STATUSES, _we_do_not_store,
        Case(status=299, control=("max-age=60, must-understand",)),
    ),
    Explanation(
        "RFC 9111 §3", "what could never answer a later request is not kept: no lifetime, no-cache or Vary: *, and no validator",
        lambda case: case.tag is None and case.modified is None and (_is_unsaid(case) or _says(case, "no-cache") or case.vary == "*"),
        _we_do_not_store,
        Case(),
    ),
    Explanation(
        "RFC 9111 §5.2.2.4, §5.2.2.7", "a word without field names stays, though the same word with names comes behind it",
        _is_doubled,
        lambda mine, other: _we_do_not_store(mine, other) or _we_ask(mine, other),
        Case(control=("max-age=60, private", 'private="x-a"')),
    ),
    Explanation(
        "RFC 9110 §15.4.5, §15.5", "statuses about one request (a condition, a range, a connection) are nobody else's",
        lambda case: case.status in ABOUT_ONE_REQUEST, _we_do_not_store,
        Case(status=412, control=("max-age=60",)),
    ),
    Explanation(
        "RFC 9110 §15.1", "errors that may be cached without a lifetime have the operator's negative lifetime, not a guess",
        lambda case: case.status >= 400 and _is_unsaid(case), _either,
        Case(status=404, later=5),
    ),
    Explanation(
        "RFC 9111 §4.2.2", "a guess counts from Date, hishel's from now, so it grows; and ours ends after a day, hishel's after a week",
        lambda case: _is_unsaid(case) and case.modified is not None, _either,
        Case(modified=1000, later=105),
    ),
    Explanation(
        "RFC 5861 §3", "stale-while-revalidate is granted",
        lambda case: _says(case, "stale-while-revalidate"), _we_serve,
        Case(control=("max-age=60, stale-while-revalidate=60",), tag='"a"', later=90),
    ),
    Explanation(
        "RFC 9111 §4.1", "selecting fields are compared in their normal form",
        lambda case: case.vary is not None, _we_serve,
        Case(
            control=("max-age=60",),
            vary="Accept-Encoding",
            asked=(("Accept-Encoding", "gzip, br"),),
            asks=(("Accept-Encoding", "br,gzip"),),
        ),
    ),
)  # fmt: skip

NUMBERS = ["max-age=0", "max-age=60", "max-age=600", "s-maxage=60", "s-maxage=0", "MAX-AGE=60", 'max-age="60"', "max-age=abc", "max-age=-1",
           "max-age=60.5", "max-age=99999999999", "s-maxage=x"]  # fmt: skip
WORDS = ["no-store", "no-cache", 'no-cache="x-a"', "private", 'private="x-a"', "public", "must-revalidate", "proxy-revalidate",
         "must-understand", "immutable", "stale-while-revalidate=60", "stale-if-error=60", "unknown", 'unknown="a, b"']  # fmt: skip
CONTROL = st.lists(
    st.lists(st.sampled_from(NUMBERS + WORDS), min_size=1, max_size=3, unique=True).map(", ".join), max_size=2
).map(tuple)  # fmt: skip
WISHES = st.lists(
    st.sampled_from(
        [("Cache-Control", "no-cache"), ("Cache-Control", "max-age=30"), ("Cache-Control", "max-stale=50"),
         ("Cache-Control", "min-fresh=20"),
         ("Pragma", "no-cache"), ("Accept-Encoding", "gzip"), ("Accept-Encoding", "gzip, br"), ("Accept-Encoding", "br,gzip"),
         ("Authorization", "Basic eDp5")]
    ),
    max_size=2, unique_by=lambda line: line[0],
).map(tuple)  # fmt: skip
CASES = st.builds(
    Case,
    status=st.sampled_from([200, 200, 200, 203, 204, 299, 301, 302, 307, 308, 403, 404, 410, 412, 416, 500, 503, 599]),
    control=CONTROL,
    expires=st.sampled_from([None, None, -60, 0, 60, 600, "0", "never"]),
    modified=st.sampled_from([None, None, 0, 600, 6000, 100 * DAY]),
    tag=st.sampled_from([None, '"a"', 'W/"a"']),
    date=st.sampled_from([0, 0, 0, 30, 61, 700]),
    vary=st.sampled_from([None, None, None, "Accept-Encoding", "*"]),
    asked=WISHES,
    later=st.sampled_from([0, 1, 29, 30, 59, 60, 61, 100, 599, 600, 601, 7000, 2 * DAY]),
    asks=WISHES,
)  # fmt: skip


@settings(max_examples=1200, deadline=None, derandomize=True)
@given(case=CASES)
def test_every_difference_is_explained(case: Case) -> None:
    mine, other = ours(case), theirs(case)
    if mine == other:
        return
    reasons = [found for found in EXPLAINED if found.differs(case) and found.accounts(mine, other)]
    assert reasons, f"unexplained: {case}\n{case.lines}\nours: {mine}\ntheirs: {other}"


@pytest.mark.parametrize("found", EXPLAINED, ids=[found.why[:50] for found in EXPLAINED])
def test_every_explanation_is_needed(found: Explanation) -> None:
    mine, other = ours(found.case), theirs(found.case)
    assert mine != other, "no difference any more: the explanation can go"
    assert found.differs(found.case)
    assert found.accounts(mine, other), f"ours: {mine}, theirs: {other}"


def test_where_nothing_is_odd_both_agree() -> None:
    """The comparison itself can fail: plain cases agree, and for reasons that are not the same everywhere."""
    redirect = Case(control=("public, max-age=60",), status=302)
    served = [FRESH, Case(control=("s-maxage=60",), later=59), Case(expires=60, later=59), redirect]
    asked = [replace(FRESH, later=60), Case(control=("no-store",)), Case(control=("private, max-age=60",)), Case(expires=60, later=60)]
    for case in served:
        assert ours(case) == theirs(case) == Opinion(True, True), case
    for case in asked:
        assert ours(case) == theirs(case), case
        assert not ours(case).is_served, case
