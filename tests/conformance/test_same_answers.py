"""Whatever is asked, in whatever order, a cluster answers as a single node does.

The same random dialogue is held with a manager alone and with a peer that does not own the key, step by step at the same time. The
upstream is a small honest server: a resource that has versions, validators and a Cache-Control, and sometimes a bad day. Status, body and
fields must be the same, but for those that name the nodes; Age may differ by a second, and a digest may be known to one of them only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from minicdn.core.dates import format_http_date
from tests.conformance.kit_origin import Scene
from tests.conformance.kit_play import show
from tests.conformance.kit_rows import ALONE, FAR, Up
from tests.conformance.kit_stage import Stage
from tests.conformance.kit_wire import Message, Wire

NAMING = {"via", "cache-status", "x-cache", "age", "repr-digest"}
FIRST_CHANGE_AT = 784111777
NUMBERS = itertools.count()


@dataclass
class Resource:
    """What the upstream has. It may change (another version), vary by X-V, and fail."""

    control: str
    validator: str
    varies: bool
    status: int
    framing: str
    version: int = 0
    trouble: str = ""

    def respond(self, request: Message) -> Up:
        if self.trouble == "503":
            return Up(status=503, body=b"a bad day")
        if self.trouble == "closes":
            return Up(hangup=True)
        if request.start.split(b" ")[0] not in (b"GET", b"HEAD"):
            self.version += 1
            return Up(lines=("Cache-Control: no-store",), body=b"changed")
        lines = [self.control, *self._validators(request)]
        if self.varies:
            lines.append("Vary: X-V")
        if self._is_unchanged(request):
            return Up(lines=tuple(lines), status=304)
        return Up(lines=tuple(lines), status=self.status, body=self._body(request), framing=self.framing)

    def _body(self, request: Message) -> bytes:
        return f"version {self.version} for {request.line('x-v') if self.varies else 'all'}. ".encode() * 20

    def _tag(self, request: Message) -> str:
        return f'"{self.version}-{request.line("x-v") if self.varies else ""}"'

    def _changed(self) -> str:
        return format_http_date(FIRST_CHANGE_AT + 60 * self.version).decode()

    def _validators(self, request: Message) -> list[str]:
        match self.validator:
            case "strong":
                return [f"ETag: {self._tag(request)}"]
            case "weak":
                return [f"ETag: W/{self._tag(request)}"]
            case "date":
                return [f"Last-Modified: {self._changed()}"]
        return []

    def _is_unchanged(self, request: Message) -> bool:
        if self.status != 200:
            return False
        if (tags := request.line("if-none-match")) is not None:
            return self._tag(request) in tags and self.validator in ("strong", "weak")
        return self.validator == "date" and not self.varies and request.line("if-modified-since") == self._changed()


@dataclass(frozen=True)
class Turn:
    """What happens next: time passes, the resource changes or fails, and then somebody asks."""

    method: str = "GET"
    lines: tuple[str, ...] = ()
    seconds: int = 0
    changes: bool = False
    trouble: str = ""


@dataclass
class Side:
    """One of the two conversations."""

    set_up: str
    path: str
    resource: Resource
    scene: Scene = field(init=False)


CONTROLS = st.sampled_from(
    ["max-age=60", "max-age=60, must-revalidate", "s-maxage=60", "max-age=60, stale-if-error=30", "no-cache", "no-store",
     "private, max-age=60", "public", "max-age=0", 'max-age=60, no-cache="x-none"']
)  # fmt: skip
RESOURCES = st.builds(
    Resource,
    control=CONTROLS.map(lambda value: f"Cache-Control: {value}"),
    validator=st.sampled_from(["strong", "weak", "date", "none"]),
    varies=st.booleans(),
    status=st.sampled_from([200, 200, 200, 200, 404, 301]),
    framing=st.sampled_from(["length", "chunked"]),
)
WISHES = st.sampled_from(
    [(), (), (), ("Cache-Control: no-cache",), ("Cache-Control: max-age=20",), ("Cache-Control: max-stale=50",),
     ("Cache-Control: min-fresh=30",), ("Cache-Control: only-if-cached",), ("Cache-Control: no-store",), ("Pragma: no-cache",),
     ('If-None-Match: "0-"',), ("If-None-Match: *",), ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",),
     ("Authorization: Basic eDp5",)]
)  # fmt: skip
PARTS = st.sampled_from([("Range: bytes=3-7",), ("Range: bytes=-5",), ("Range: bytes=0-1,5-6",)])


def _turns(wishes: st.SearchStrategy[tuple[str, ...]]) -> st.SearchStrategy[list[Turn]]:
    turn = st.builds(
        lambda method, variant, wish, seconds, changes, trouble: Turn(method, (*variant, *wish), seconds, changes, trouble),
        st.sampled_from(["GET"] * 8 + ["HEAD", "POST"]),
        st.sampled_from([(), ("X-V: 1",), ("X-V: 2",)]),
        wishes,
        st.sampled_from([0, 0, 1, 30, 59, 60, 61, 85, 200]),
        st.sampled_from([False] * 4 + [True]),
        st.sampled_from([""] * 6 + ["503", "closes"]),
    )
    return st.lists(turn, min_size=2, max_size=8)


COMMON = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@settings(COMMON, max_examples=80)
@given(resource=RESOURCES, turns=_turns(WISHES))
def test_the_cluster_answers_as_one_node(stage_of_nodes: Stage, resource: Resource, turns: list[Turn]) -> None:
    _converse(stage_of_nodes, resource, turns)


@settings(COMMON, max_examples=200, phases=[Phase.generate])
@given(resource=RESOURCES, turns=_turns(st.one_of(WISHES, PARTS)))
def test_the_cluster_answers_about_parts_as_one_node(stage_of_nodes: Stage, resource: Resource, turns: list[Turn]) -> None:
    _converse(stage_of_nodes, resource, turns)


def _converse(stage_of_nodes: Stage, resource: Resource, turns: list[Turn]) -> None:
    with _sides(stage_of_nodes, resource) as sides:
        for number, turn in enumerate(turns, 1):
            stage_of_nodes.time.move(turn.seconds)
            answers = [_take(stage_of_nodes, side, turn) for side in sides]
            _compare(*answers, turn.method, f"turn {number} of {turns}")


@contextmanager
def _sides(stage: Stage, resource: Resource) -> Iterator[list[Side]]:
    number = next(NUMBERS)
    sides = []
    for set_up in (ALONE, FAR):
        own = Resource(resource.control, resource.validator, resource.varies, resource.status, resource.framing)
        side = Side(set_up, stage.path(set_up, f"same-{number}", ["@"]), own)
        dated = lambda text: text.replace("<now>", format_http_date(stage.time.at).decode())  # noqa: E731
        side.scene = Scene(dated, stage.time.move, respond=own.respond)
        stage.origin.scenes[side.path.removeprefix("/c/").encode()] = side.scene
        sides.append(side)
    try:
        yield sides
    finally:
        for side in sides:
            del stage.origin.scenes[side.path.removeprefix("/c/").encode()]


def _take(stage: Stage, side: Side, turn: Turn) -> Message:
    side.resource.version += turn.changes
    side.resource.trouble = turn.trouble
    served = stage.client_side(side.set_up)
    host, port = served.address
    content = b"x" if turn.method == "POST" else b""
    lines = [f"{turn.method} {side.path} HTTP/1.1", f"Host: {host}:{port}", *turn.lines, *(["Content-Length: 1"] if content else [])]
    wire = Wire(served.address)
    try:
        wire.send("\r\n".join([*lines, "", ""]).encode() + content)
        return wire.read(turn.method)
    finally:
        wire.close()
        stage.settle(side.set_up)


def _compare(alone: Message, far: Message, method: str, where: str) -> None:
    story = f"{where}\n\nalone:\n{show(alone)}\n\nfar:\n{show(far)}"
    assert alone.status == far.status, story
    assert alone.is_whole == far.is_whole, story
    if alone.status >= 500 and alone.status != 503:
        return  # our own words about what is wrong
    assert _plain_body(alone) == _plain_body(far), story
    assert _plain_fields(alone, method) == _plain_fields(far, method), story
    digests = {message.line("repr-digest") for message in (alone, far)} - {None}
    assert len(digests) <= 1, story  # told when it is known, which for a body on disk is a moment after it has come
    ages = [message.line("age") for message in (alone, far)]
    assert ages == [None, None] or (None not in ages and abs(int(ages[0] or 0) - int(ages[1] or 0)) <= 1), story


def _boundary(message: Message) -> bytes:
    return (message.line("content-type") or "").partition("boundary=")[2].encode() or b"no boundary"


def _plain_body(message: Message) -> bytes:
    return message.body.replace(_boundary(message), b"--")


def _plain_fields(message: Message, method: str) -> list[tuple[bytes, bytes]]:
    """Those that are about the thing itself. That HEAD tells no length in places is told by a row (head-of-what-is-confirmed)."""
    kept = [(name.lower(), value.replace(_boundary(message), b"--")) for name, value in message.fields]
    left_out = NAMING | {"content-length"} if method == "HEAD" else NAMING
    return sorted(line for line in kept if line[0].decode() not in left_out)
