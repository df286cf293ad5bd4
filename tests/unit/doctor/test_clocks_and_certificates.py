"""Clocks compared by what answers say, and certificates by their days and names."""

from __future__ import annotations

import ssl
import time
from typing import Any

import pytest

from minicdn.core.dates import format_http_date
from minicdn.doctor import certs, clocks
from minicdn.doctor.finding import FAIL, OK, WARN

NOW = 1_800_000_000.0


def ahead(seconds: float, *more: tuple[bytes, bytes]) -> float:
    found = clocks.ahead_seconds([(b"Date", format_http_date(NOW + seconds)), *more], NOW - 0.2, NOW + 0.2)
    assert found is not None
    return found


@pytest.mark.parametrize("seconds", [0, 100, -4000])
def test_a_date_is_compared_with_the_middle_of_the_wait(seconds: float) -> None:
    assert abs(ahead(seconds) - seconds) <= 1


def test_a_caches_copy_is_as_old_as_it_says() -> None:
    assert abs(ahead(-500, (b"Age", b"500"))) <= 1


@pytest.mark.parametrize("fields", [[], [(b"Date", b"yesterday")], [(b"Date", b"\xff")]])
def test_no_date_is_no_clock(fields: list[tuple[bytes, bytes]]) -> None:
    assert clocks.ahead_seconds(fields, NOW, NOW) is None
    assert clocks.upstream_clock(None).state == WARN


@pytest.mark.parametrize(
    ("seconds", "with_token", "state"),
    [(0, True, OK), (-5, True, OK), (20, True, WARN), (-299, True, WARN), (301, True, FAIL), (301, False, WARN)],
)
def test_a_nodes_clock(seconds: float, with_token: bool, state: str) -> None:
    assert clocks.node_clock("manager clock", seconds, "this machine's", with_token=with_token).state == state


def test_which_clock_is_ahead() -> None:
    assert "60 s ahead of" in clocks.upstream_clock(60.0).seen
    assert "60 s behind" in clocks.upstream_clock(-60.0).seen
    assert "2.5 h behind" in clocks.upstream_clock(-9000.0).seen


@pytest.mark.parametrize(("now", "state"), [(0.0, FAIL), (1_500_000_000.0, FAIL), (NOW, OK), (5e9, FAIL)])
def test_ones_own_clock(now: float, state: str) -> None:
    assert clocks.own_clock(now, "then").state == state


def certificate(days: float, *names: str, begins_in_days: float = -1.0) -> dict[str, Any]:
    def text(at: float) -> str:
        return time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(at))

    found = {"notAfter": text(NOW + days * 86400), "notBefore": text(NOW + begins_in_days * 86400)}
    assert ssl.cert_time_to_seconds(found["notAfter"])
    return {**found, "subjectAltName": tuple(("IP Address" if name[0].isdigit() else "DNS", name) for name in names)}


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (certificate(100, "cdn.example"), OK, "100 days left, for cdn.example"),
        (certificate(100, "*.example"), OK, "100 days left"),
        (certificate(5, "cdn.example"), WARN, "expires in 5.0 days"),
        (certificate(-3, "cdn.example"), FAIL, "expired 3 days ago"),
        (certificate(100, "cdn.example", begins_in_days=2), FAIL, "counts only in 2.0 days"),
        (certificate(100, "10.0.0.5", "other.example"), WARN, "known as cdn.example"),
        (certificate(100), WARN, "no name at all"),
        ({"notAfter": "soon", "subjectAltName": (("DNS", "cdn.example"),)}, OK, "does not say"),
    ],
)
def test_ones_own_certificate(found: dict[str, Any], state: str, words: str) -> None:
    finding = certs.own_certificate("certificate", found, "cdn.example", NOW)
    assert (finding.state, words in finding.seen) == (state, True), finding


@pytest.mark.parametrize(
    ("names", "host", "is_for"),
    [
        (["10.0.0.5"], "10.0.0.5", True),
        (["::1"], "0:0::1", True),
        (["*.a.example"], "b.c.a.example", False),
        (["A.example"], "a.Example.", True),
    ],
)
def test_names(names: list[str], host: str, is_for: bool) -> None:
    assert certs.is_for(names, host) is is_for
