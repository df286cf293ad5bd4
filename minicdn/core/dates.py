"""HTTP dates as instants (RFC 9110 §5.6.7).

Three forms are read: the fixed one (`Sun, 06 Nov 1994 08:49:37 GMT`), RFC 850's with two digits for the year, and asctime's.
Anything else is no date, and a reader of freshness then takes the cautious way. A cache reads names of days, months and the
zone in any case (RFC 9111 §4.2), but no zone other than GMT, and no local time ever enters.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

_SHORT_DAY = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = rb"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_TIME = rb"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"

_FIXED = re.compile(_SHORT_DAY + rb", ([0-9]{2}) " + _MONTH + rb" ([0-9]{4}) " + _TIME + rb" gmt", re.IGNORECASE)
_RFC850 = re.compile(_LONG_DAY + rb", ([0-9]{2})-" + _MONTH + rb"-([0-9]{2}) " + _TIME + rb" gmt", re.IGNORECASE)
_ASCTIME = re.compile(_SHORT_DAY + rb" " + _MONTH + rb" ([0-9]{2}| [0-9]) " + _TIME + rb" ([0-9]{4})", re.IGNORECASE)

DATES_MAX = 1024
"""Dates that are remembered: all answers of a second have the same one, and files of one day often, too."""
FIXED_BYTES = 29

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_AT = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH).total_seconds()


def parse_http_date(value: bytes, now: float) -> float | None:
    """The instant (Unix seconds) that `value` names, or None where it is no HTTP date.

    `now` settles the century of two-digit years: one that seems more than 50 years ahead is the last past year with those
    digits (RFC 9110 §5.6.7).
    """
    value = value.strip(b" \t")
    if len(value) == FIXED_BYTES and (at := _fixed(value)) is not None:
        return at
    if match := _RFC850.fullmatch(value):
        day, month, year, hour, minute, second = match.groups()
        return _with_century(int(year), now, month, day, hour, minute, second)
    if match := _ASCTIME.fullmatch(value):
        month, day, hour, minute, second, year = match.groups()
        return _instant(int(year), month, day, hour, minute, second)
    return None


@lru_cache(DATES_MAX)
def _fixed(value: bytes) -> float | None:
    """The instant of a date in the fixed form; None where it is in another, or names a day that there is not."""
    match = _FIXED.fullmatch(value)
    if match is None:
        return None
    day, month, year, hour, minute, second = match.groups()
    return _instant(int(year), month, day, hour, minute, second)


def _instant(year: int, month: bytes, day: bytes, hour: bytes, minute: bytes, second: bytes) -> float | None:
    try:
        midnight = datetime(year, _MONTH_NUMBERS[month.lower()], int(day), tzinfo=UTC)
    except ValueError:  # 30 Feb, or year 0
        return None
    # A leap second (60) is the first second of the next minute: seconds are counted, not looked up.
    return (midnight - _EPOCH).days * 86400.0 + int(hour) * 3600 + int(minute) * 60 + int(second)


def _with_century(year: int, now: float, *rest: bytes) -> float | None:
    """The latest instant with these two digits that is no more than fifty years ahead: in 1999, `00` was next year."""
    century = _moment(now).year // 100 * 100
    fifty_years_on = now + 50 * 365.2425 * 86400
    candidates = (_instant(century + shift + year, *rest) for shift in (100, 0, -100))
    return next((at for at in candidates if at is not None and at <= fifty_years_on), None)


def _moment(at: float) -> datetime:
    return _EPOCH + timedelta(seconds=int(min(max(at, 0.0), _LATEST_AT)))


def format_http_date(at: float) -> bytes:
    """`at` (Unix seconds) in the fixed form; fractions are dropped, what no date can say is brought to the nearest end."""
    return _format(int(min(max(at, 0.0), _LATEST_AT)))


@lru_cache(DATES_MAX)
def _format(seconds: int) -> bytes:
    moment = _moment(seconds)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[moment.weekday()],
        moment.day,
        _MONTHS[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )
