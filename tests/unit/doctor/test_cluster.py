"""What a manager and its peers say of themselves, and what it means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from minicdn.doctor import cluster
from minicdn.doctor.cluster import Health, Met, Row
from minicdn.doctor.finding import FAIL, OK, WARN, lines_of, plain, summary
from minicdn.doctor.reaching import not_reached

MANAGER = "http://10.0.0.1:11000"
ROW = Row("http://10.0.0.2:11001", "a", None, 2.0)
GOOD = Met(ROW, Health("peer", "a", "0.1.0", True, "ready", MANAGER, "", False, None), 0.01, 0.2)


@pytest.mark.parametrize(
    ("met", "state", "words"),
    [
        (GOOD, OK, "0.1.0, ready, in 10 ms"),
        (replace(GOOD, health=None), FAIL, "another program"),
        (replace(GOOD, row=replace(ROW, id="b")), FAIL, "another minicdn node"),
        (replace(GOOD, health=replace(GOOD.health, is_ready=False, state="draining")), WARN, "draining"),  # type: ignore[type-var]
        (replace(GOOD, health=replace(GOOD.health, version="0.0.9")), WARN, "0.0.9, the manager 0.1.0"),  # type: ignore[type-var]
        (replace(GOOD, row=replace(ROW, seen_seconds=40.0)), WARN, "for 40 s"),
        (replace(GOOD, ahead=-100.0), WARN, "100 s behind the manager's"),
        (replace(GOOD, seconds=2.0), WARN, "slow"),
        (replace(GOOD, row=replace(ROW, url="http://127.0.0.1:11001")), FAIL, "each machine's own"),
        (Met(ROW, trouble=("refused", "connection refused")), FAIL, "refused"),
        (Met(ROW, trouble=("silent", "no answer within 3 s")), FAIL, "no answer within 3 s; the manager heard of it 2 s ago"),
        (Met(ROW, trouble=("fingerprint", "its certificate is a, not b")), FAIL, "its certificate is a, not b"),
    ],
)
def test_a_peer(met: Met, state: str, words: str) -> None:
    found = cluster.peer(met, MANAGER, "0.1.0")
    assert (found.state, words in found.seen, bool(found.advice)) == (state, True, state != OK), found


def test_loopback_is_fine_where_the_manager_is_there_too() -> None:
    met = replace(GOOD, row=replace(ROW, url="http://127.0.0.1:11001"))
    assert cluster.peer(met, "http://127.0.0.1:11000", "0.1.0").state == OK


def test_of_many_peers_those_in_order_have_one_line() -> None:
    [found] = cluster.all_well([replace(GOOD, seconds=seconds) for seconds in (0.01, 0.02, 0.9)], 40)
    assert (found.state, "3 of 40 asked answer as they should, in 20 ms (median), 900 ms at most" in found.seen) == (OK, True)
    assert cluster.all_well([], 40) == []


NO_JSON = [b"", b"\xff\xfe", b"null", b"[]", b"1", b'"role"', b"[" * 100_000]
ABSURD = [*NO_JSON, b'{"role": 7}', b'{"role": "manager"}', b'{"role": "boss", "id": "a"}']


@pytest.mark.parametrize("body", ABSURD)
def test_what_is_no_node(body: bytes) -> None:
    assert cluster.health_of(200, body) is None
    assert cluster.rows_of(body) is None


def test_texts_that_are_none_are_nothing() -> None:
    found = cluster.health_of(503, json.dumps({"role": "peer", "id": "a", "version": 7, "clock_at": "x", "ready": "yes"}).encode())
    assert found == Health("peer", "a", "", False, "", "", "", False, None)
    assert cluster.health_of(404, b'{"role": "peer", "id": "a"}') is None


def test_rows_that_are_none_are_left_out() -> None:
    good = {"url": "http://10.0.0.2:11001", "id": "a", "seen_seconds": 2.0}
    bad: list[Any] = [None, 7, [], {}, {"url": 7, "id": "a"}, {"url": "ftp://x", "id": "a"}, {"url": "http://x:99999", "id": "a"}]
    page = {"peers": [*bad, good], "unreachable": [*bad, {**good, "reason": 7}, {**good, "reason": "no answer"}]}
    assert cluster.rows_of(json.dumps(page).encode()) == ([ROW], [(ROW.url, ""), (ROW.url, "no answer")])
    assert cluster.rows_of(b'{"peers": [], "unreachable": 7}') == ([], [])


def test_the_manager() -> None:
    health = Health("manager", "m", "0.1.0", True, "ready", "", "http://up", False, None)
    assert [one.state for one in cluster.manager(MANAGER, health, "0.1.0", 0.01, 1)] == [OK]
    assert [one.state for one in cluster.manager(MANAGER, health, "0.2.0", 0.01, 1)] == [OK, WARN]
    assert [one.state for one in cluster.manager(MANAGER, replace(health, is_ready=False), "0.1.0", 0.01, 1)] == [WARN]
    [found] = cluster.manager("http://p", replace(health, role="peer", manager=MANAGER), "0.1.0", 0.01, 1)
    assert (found.state, MANAGER in found.advice) == (FAIL, True)


@pytest.mark.parametrize(("status", "is_signed", "state"), [(200, True, OK), (401, False, FAIL), (200, False, FAIL), (403, False, FAIL)])
def test_the_token(status: int, is_signed: bool, state: str) -> None:
    assert cluster.token(status, "why", is_signed=is_signed).state == state


@pytest.mark.parametrize(("is_there", "is_given", "state"), [(False, True, FAIL), (True, False, OK), (False, False, OK)])
def test_a_token_at_one_side_only(is_there: bool, is_given: bool, state: str) -> None:
    assert cluster.token_untried(is_there=is_there, is_given=is_given, is_joining=False).state == state
    assert cluster.token_untried(is_there=True, is_given=False, is_joining=True).state == FAIL


def test_how_many() -> None:
    assert cluster.list_size(3, 3) is None
    assert (cluster.list_size(0, 0) or GOOD).state == WARN  # type: ignore[union-attr]
    assert "256 of them" in (cluster.list_size(4096, 256) or GOOD).seen  # type: ignore[union-attr]


KINDS = ("name", "refused", "unreachable", "no connection", "certificate", "fingerprint", "tls", "silent", "cut", "no http", "url", "new")


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_of_not_being_reached_has_its_advice(kind: str) -> None:
    seen, advice = not_reached("https://files.example.com", kind, "because")
    assert "files.example.com" in seen and advice
    assert kind == "refused" or "because" in seen or kind == "cut"


def test_what_a_terminal_is_shown() -> None:
    assert plain("a\x1b[2J\n  b\x07 \u202e") == "a?[2J b? ?"
    assert len(plain("x" * 10_000)) == 400
    found = cluster.peer(replace(GOOD, health=None), MANAGER, "0.1.0")
    assert lines_of(found).count("\n") == 1 and lines_of(found).startswith("FAIL  peer ")
    assert summary([found], is_stopped=True).startswith("stopped before the end; so far 1 failed, 0 warnings, 0 ok")
