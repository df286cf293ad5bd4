"""Bad input at the socket, alone and behind a good request on the same connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.bad_input import BAD, SMUGGLED, Bad
from tests.conformance.kit_origin import Scene
from tests.conformance.kit_rows import ALONE, FAR, Up
from tests.conformance.kit_stage import Stage
from tests.conformance.kit_wire import Message, Wire


def _cases(*, is_behind: bool) -> list[object]:
    found = []
    for set_up in (ALONE, FAR):
        for bad in BAD:
            reason = bad.xfail_behind if is_behind else bad.xfail
            marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            found.append(pytest.param(bad, set_up, id=f"{set_up}-{bad.id}", marks=marks))
    return found


GOOD = b"GET %PATH% HTTP/1.1\r\nHost: %HOST%\r\n\r\n"


class Upstream:
    """What the upstream was asked under the test's own path, and under the smuggled one."""

    def __init__(self, stage: Stage, set_up: str, name: str) -> None:
        self.path = stage.path(set_up, name, ["@"]).encode()
        self.own = Scene(lambda text: text, stage.time.move, answers=[Up(body=b"good", lines=("Date: Sun, 06 Nov 1994 08:49:37 GMT",))] * 9)
        self.smuggled = Scene(lambda text: text, stage.time.move)
        self.scenes = {self.path.removeprefix(b"/c/"): self.own, SMUGGLED.removeprefix(b"/c/"): self.smuggled}


@pytest.fixture
def upstream(stage_of_nodes: Stage, request: pytest.FixtureRequest) -> Iterator[Upstream]:
    bad, set_up = request.node.callspec.params["bad"], request.node.callspec.params["set_up"]
    kind = "second" if "behind" in request.node.name else "first"
    found = Upstream(stage_of_nodes, set_up, f"bad-{kind}-{bad.id}".replace(".", "-"))
    stage_of_nodes.origin.scenes.update(found.scenes)
    yield found
    stage_of_nodes.settle(set_up)
    for name in found.scenes:
        del stage_of_nodes.origin.scenes[name]


def _send(stage: Stage, set_up: str, path: bytes, octets: bytes) -> Wire:
    address = stage.client_side(set_up).address
    wire = Wire(address)
    wire.send(octets.replace(b"%PATH%", path).replace(b"%HOST%", f"{address[0]}:{address[1]}".encode()))
    return wire


def _check_refused(wire: Wire, bad: Bad) -> None:
    try:
        answer: Message | None = wire.read()
    except EOFError:
        answer = None
    if answer is None:
        assert bad.may_close, "the connection was closed without a word"
        return
    assert answer.status in bad.statuses, f"{answer.start!r} {answer.body!r}"
    if bad.stays_open:
        return
    assert wire.is_ended(), "after a refusal nobody knows where the next request begins: the connection must be closed"


@pytest.mark.parametrize(("bad", "set_up"), _cases(is_behind=False))
def test_bad_input_is_refused(stage_of_nodes: Stage, upstream: Upstream, bad: Bad, set_up: str) -> None:
    wire = _send(stage_of_nodes, set_up, upstream.path, bad.octets)
    try:
        _check_refused(wire, bad)
    finally:
        wire.close()
    assert not upstream.smuggled.unexpected, "the request inside was passed on"


@pytest.mark.parametrize(("bad", "set_up"), _cases(is_behind=True))
def test_bad_input_behind_a_good_request(stage_of_nodes: Stage, upstream: Upstream, bad: Bad, set_up: str) -> None:
    """The good one may be answered or cut off with the bad one; what is inside the bad one never is answered."""
    wire = _send(stage_of_nodes, set_up, upstream.path, GOOD + bad.octets)
    answers: list[Message] = []
    try:
        while len(answers) < 4:
            answers.append(wire.read())
            if bad.stays_open and len(answers) == 2:
                break
    except EOFError:
        pass
    finally:
        wire.close()
    statuses = [answer.status for answer in answers]
    assert not upstream.smuggled.unexpected, "the request inside was passed on"
    assert len(statuses) <= 2, f"more answers than requests: {statuses}"
    assert statuses[:1] in ([200], []) or statuses[0] in bad.statuses, statuses
    assert all(status in bad.statuses for status in statuses[1:]), statuses


def test_the_own_host_in_absolute_form_is_served(stage_of_nodes: Stage) -> None:
    """Also by rows in rows_message.py; here for a name in another case."""
    for set_up in (ALONE, FAR):
        host, port = stage_of_nodes.client_side(set_up).address
        path = stage_of_nodes.path(set_up, "own-host", ["@"])
        scene = Scene(lambda text: text, stage_of_nodes.time.move, answers=[Up(body=b"mine")])
        stage_of_nodes.origin.scenes[path.removeprefix("/c/").encode()] = scene
        wire = Wire((host, port))
        try:
            wire.send(f"GET HTTP://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert wire.read().body == b"mine"
        finally:
            wire.close()
            del stage_of_nodes.origin.scenes[path.removeprefix("/c/").encode()]
