"""What an answer says, and what a status means for the person who asked."""

from __future__ import annotations

import pytest

from minicdn.errors import NotThere, Refused
from minicdn.get.facts import Facts, facts_of, range_fields, refusal

ETAG = (b"ETag", b'"one"')


def test_a_whole_answer() -> None:
    facts = facts_of(200, [(b"Content-Length", b"10"), ETAG, (b"accept-ranges", b"bytes")])
    assert facts == Facts(0, 10, 10, b'"one"', True, None)
    assert facts.is_whole


def test_a_part() -> None:
    facts = facts_of(206, [(b"Content-Range", b"bytes 3-6/10"), (b"Content-Length", b"4"), ETAG])
    assert facts == Facts(3, 7, 10, b'"one"', True, None)
    assert not facts.is_whole


@pytest.mark.parametrize("fields", [[], [(b"Content-Range", b"bytes */10")], [(b"Content-Type", b"multipart/byteranges; boundary=x")]])
def test_a_part_of_nothing_we_know(fields) -> None:
    assert facts_of(206, fields) is None


def test_a_length_that_is_not_told_and_validators_that_prove_nothing() -> None:
    facts = facts_of(200, [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"9"), (b"ETag", b'W/"weak"')])
    assert facts is not None
    assert (facts.end, facts.length, facts.validator) == (None, None, None)


def test_only_the_same_strong_validator_and_length_fit() -> None:
    part = Facts(3, 7, 10, b'"one"', True, None)
    assert part.fits(10, b'"one"')
    assert part.fits(None, b'"one"')
    assert not part.fits(11, b'"one"')
    assert not part.fits(10, b'"two"')
    assert not Facts(3, 7, 10, None, True, None).fits(10, None)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotThere), (410, NotThere), (401, Refused), (403, Refused), (451, Refused), (503, None), (429, None)]
)
def test_refusals(status: int, kind: type | None) -> None:
    assert type(refusal(status, "http://x/y")) is (kind or type(None))


def test_ranges_are_asked_for_under_their_validator() -> None:
    assert range_fields(0, None, b'"one"') == []
    assert range_fields(0, 10, None) == [(b"Range", b"bytes=0-9")]
    assert range_fields(5, None, b'"one"') == [(b"Range", b"bytes=5-"), (b"If-Range", b'"one"')]
