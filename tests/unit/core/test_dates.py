from __future__ import annotations

from datetime import UTC, datetime

import pytest

from minicdn.core.dates import format_http_date, parse_http_date
from tests.unit.core.making import NOW


@pytest.mark.parametrize(
    "value",
    [
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"Sun Nov 06 08:49:37 1994",
        b" Sun, 06 Nov 1994 08:49:37 GMT\t",
        b"SUN, 06 nov 1994 08:49:37 gmt",
        b"sunday, 06-NOV-94 08:49:37 Gmt",
    ],
)
def test_three_forms_in_any_case_name_one_instant(value):
    assert parse_http_date(value, NOW) == NOW


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"0", b"-1", b"784111777", b"now", b"\xff"),
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06  Nov 1994 08:49:37 GMT",
        b"Sun, 06-Nov-1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08.49.37 GMT",
        b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Foo, 06 Nov 1994 08:49:37 GMT",
        b"06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 0\u0666 Nov 1994 08:49:37 GMT".encode(),
    ],
)
def test_anything_else_is_no_date(value):
    assert parse_http_date(value, NOW) is None


@pytest.mark.parametrize(
    ("year_now", "digits", "year"),
    [
        (1994, 94, 1994),
        (1994, 44, 2044),
        (1994, 45, 1945),
        (1999, 0, 2000),
        (2026, 76, 2076),
        (2026, 77, 1977),
        (2026, 0, 2000),
        (2099, 1, 2101),
    ],
)
def test_two_digits_are_a_year_no_more_than_fifty_years_ahead(year_now, digits, year):
    now = datetime(year_now, 1, 1, tzinfo=UTC).timestamp()
    at = parse_http_date(b"Sunday, 01-Jan-%02d 00:00:00 GMT" % digits, now)
    assert datetime.fromtimestamp(at, UTC).year == year


def test_a_leap_second_is_the_first_of_the_next_minute():
    leap = parse_http_date(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW)
    assert leap == parse_http_date(b"Sun, 01 Jan 2017 00:00:00 GMT", NOW)


def test_dates_before_1970_and_far_ahead_are_instants_too():
    assert parse_http_date(b"Wed, 01 Jan 1969 00:00:00 GMT", NOW) < 0
    assert parse_http_date(b"Fri, 31 Dec 9999 23:59:59 GMT", NOW) > 2**37


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (NOW, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (NOW + 0.999, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (0.0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (-5.0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (1e18, b"Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_dates_are_written_in_the_fixed_form(at, value):
    assert format_http_date(at) == value
