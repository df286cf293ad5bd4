"""Checkers that stand outside: they see what clients got and what the origin was asked. (leftovers.py: what is left; watching.py: what must
never be, at no moment.)"""

from __future__ import annotations

from tests.simulation.client import Answer
from tests.simulation.files import File
from tests.simulation.origin import Fetch

SLACK_SECONDS = 3.0
"""Ages are whole seconds, at each hop."""
DATE_SECONDS = 1.0
GIVEN_UP_SECONDS = 0.25
"""An answer that was given up may still be coming for a moment."""
LEFT_BYTES = 768 * 1024
"""Of an answer that is left unread, under way: what the two kernels hold."""
HONEST = frozenset((200, 206, 404, 416, 429, 502, 503, 504))
"""No 508: the origin leads back to nobody."""


def bytes_of_one_version(answer: Answer, file: File) -> str | None:
    """What is wrong with it: bytes of another version than its head's, too few bytes that look whole, an unknown status."""
    if answer.status == 0:
        return None
    if answer.status not in HONEST:
        return f"status {answer.status}"
    if answer.status not in (200, 206):
        return None
    version = int(answer.fields.get("x-version", -1))
    if not 0 <= version <= file.version:
        return f"no version {version}"
    whole = file.bytes_of(version)
    wanted = whole
    if answer.status == 206:
        assert answer.span is not None
        wanted = whole[answer.span[0] : answer.span[1]]
        shown = answer.fields.get("content-range")
        if shown != f"bytes {answer.span[0]}-{min(answer.span[1], len(whole)) - 1}/{len(whole)}":
            return f"Content-Range {shown}"
    if answer.is_whole and bytes(answer.body) != wanted:
        return _difference(bytes(answer.body), wanted, file, version)
    if not wanted.startswith(answer.body):
        return _difference(bytes(answer.body), wanted[: len(answer.body)], file, version)
    return None


def _difference(got: bytes, wanted: bytes, file: File, version: int) -> str:
    at = next((index for index, (one, other) in enumerate(zip(got, wanted, strict=False)) if one != other), min(len(got), len(wanted)))
    others = [
        number
        for number in range(file.version + 1)
        if number != version and len(got) > at and file.bytes_of(number)[at : at + 16] == got[at : at + 16]
    ]
    return f"{len(got)} bytes of {len(wanted)}, wrong from {at} on" + (f" (there it is version {others})" if others else "")


def is_not_too_old(answer: Answer, file: File, grace_seconds: float) -> str | None:
    """Fresh, or stale within the grace: for so long after its version ceased to be the origin's."""
    if answer.status not in (200, 206):
        return None
    version = int(answer.fields.get("x-version", -1))
    late = answer.asked_at - (file.over_at(version) + file.max_age + grace_seconds + SLACK_SECONDS)
    return f"version {version} ended {late:.1f} s too long ago" if late > 0 else None


def twice_at_a_time(fetches: list[Fetch], file: File) -> str | None:
    """Two fetches of the same bytes of one version at once. What was sent counts: an answer that is to come in parts is left unread. What
    is out of date by the time that somebody asks, as far as its Date of whole seconds tells, has to be fetched anew."""
    mine = [fetch for fetch in fetches if fetch.path == file.path and fetch.sent_bytes and fetch.ended_at is not None]
    for index, one in enumerate(mine):
        for other in mine[index + 1 :]:
            together = min(one.ended_at, other.ended_at) - max(one.began_at, other.began_at)  # type: ignore[type-var,operator]
            is_current = abs(one.began_at - other.began_at) < file.max_age - DATE_SECONDS
            is_together = is_current and together > (0 if one.is_whole and other.is_whole else GIVEN_UP_SECONDS)
            overlap = min(one.sent_until, other.sent_until) - max(one.start, other.start)
            if other.is_whole and one.is_part and not file.has_validator:
                continue  # nothing says that the part and the whole are of one version
            if is_together and overlap > (0 if one.is_part == other.is_part else LEFT_BYTES) and one.version == other.version:
                return f"{one} and {other}"
    return None
