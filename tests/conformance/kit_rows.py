"""How a dialogue is written down: a row is data, read from top to bottom like a conversation of three.

    row("s-maxage-before-max-age", "order", "RFC 9111 §4.2.1",
        ask(up=up("Cache-Control: s-maxage=60", body="one")),               a client asks, the upstream is asked and answers
        later(59),                                                          nobody sleeps: the clock is moved
        ask(sees=sees("Age: 59", body="one")),                              no `up`: the upstream must not be asked
    )

Where `up` is given and `sees` is not, the client must see what the (last) upstream answer said.

Field expectations, for `sees` and for `asked`: "Name: value" is there with just this value (several lines joined by ", "), "Name" is
there, "-Name" is not, "Name ~ pattern" matches. In every text, `<now+60>`, `<t0-3600>` are HTTP dates relative to now or to the row's
start, `<850:now>` and `<asctime:now>` the obsolete forms, `<path>` is the row's own path, `<node>` the authority of the node asked,
`<name>` and `<owner>` the pseudonyms of the node asked and of the key's owner, `<upstream>` the upstream's authority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ALONE, OWNER, FAR = "alone", "owner", "far"
SET_UPS = (ALONE, OWNER, FAR)
"""A manager alone; a peer that owns the key; a peer that does not, with the owner behind it."""


@dataclass(frozen=True)
class Up:
    """The upstream's part: what it must be asked, and how it answers.

    framing: length, chunked, close (ends with the connection) or none (the lines say it all). cut: the connection ends after so many
    bytes of the body. hangup: it ends without an answer. raw: these very bytes instead of an answer. takes: seconds that pass before the
    answer. hold: "head" or a count of body bytes after which the upstream waits until all clients have joined or, with one client, been
    answered.
    """

    lines: tuple[str, ...] = ()
    status: int = 200
    body: bytes = b""
    asked: tuple[str, ...] = ()
    method: str | None = None
    target: str | None = None
    content: bytes | None = None
    framing: str = "length"
    cut: int | None = None
    hangup: bool = False
    is_silent: bool = False
    raw: bytes | None = None
    interim: tuple[tuple[int, tuple[str, ...]], ...] = ()
    takes: float = 0.0
    hold: str | int | None = None


@dataclass(frozen=True)
class Sees:
    """The client's part.

    status: one, or several that will do. body None: not looked at. pattern: that the body matches. cut: the connection must end before the
    body does. order: names of lines, in this case and order. interim: statuses before the final one, and
    informed: what the fields of these must be like.
    """

    lines: tuple[str, ...] = ()
    status: int | tuple[int, ...] = 200
    body: bytes | None = None
    pattern: str | None = None
    cut: bool = False
    order: tuple[str, ...] = ()
    interim: tuple[int, ...] | None = None
    informed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """One request (or `many` at once) and all that follows from it.

    target: `@` stands for the row's path. at: `client` (the set-up's own node), `other` (in a cluster the other peer) or, with many,
    `both`. joins: how many of the many must have joined a running fill before the upstream goes on.
    """

    lines: tuple[str, ...] = ()
    method: str = "GET"
    target: str = "@"
    body: bytes | None = None
    up: tuple[Up, ...] = ()
    sees: Sees | None = None
    at: str = "client"
    many: int = 1
    joins: int | None = None
    version: str = "1.1"
    is_chunked: bool = False


@dataclass(frozen=True)
class Later:
    seconds: float


@dataclass(frozen=True)
class Down:
    """The upstream refuses connections from now on (or takes them again)."""

    is_down: bool = True


Step = Ask | Later | Down


@dataclass(frozen=True)
class Row:
    """id: unique. line, claim: see lines.py. policy: what the operator has set differently. xfail: set-up → why it cannot pass yet."""

    id: str
    claim: str
    clause: str
    steps: tuple[Step, ...]
    line: str = ""
    only: tuple[str, ...] = SET_UPS
    policy: Mapping[str, Any] = field(default_factory=dict)
    xfail: Mapping[str, str] = field(default_factory=dict)


def octets(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def up(*lines: str, status: int = 200, body: str | bytes | None = None, **more: Any) -> Up:
    """`body` where none is given: a short one for statuses that may have one."""
    if body is None:
        body = b"" if status in (204, 304) else b"body"
    return Up(lines, status, octets(body), **more)


def sees(*lines: str, status: int | tuple[int, ...] = 200, body: str | bytes | None = None, **more: Any) -> Sees:
    return Sees(lines, status, None if body is None else octets(body), **more)


def ask(*lines: str, up: Up | tuple[Up, ...] = (), sees: Sees | None = None, body: str | bytes | None = None, **more: Any) -> Ask:
    ups = up if isinstance(up, tuple) else (up,)
    return Ask(lines, up=ups, sees=sees, body=None if body is None else octets(body), **more)


def later(seconds: float) -> Later:
    return Later(seconds)


def row(id: str, claim: str, clause: str, *steps: Step, xfail: str | Mapping[str, str] | None = None, **more: Any) -> Row:
    reasons = dict.fromkeys(SET_UPS, xfail) if isinstance(xfail, str) else dict(xfail or {})
    return Row(id, claim, clause, steps, xfail=reasons, **more)


def on(line: str, *found: Row | list[Row]) -> list[Row]:
    """The rows of one line of the list."""
    flat = [one for item in found for one in (item if isinstance(item, list) else [item])]
    return [replace(one, line=line) for one in flat]


# Turns of phrase that many rows share


def stays(
    id: str, claim: str, clause: str, *lines: str, seconds: float = 0, status: int = 200, request: tuple[str, ...] = (), **more: Any
) -> Row:
    """The answer with these lines is stored and, so many seconds later, still served without asking."""
    return row(
        id, claim, clause,
        ask(*request, up=up(*lines, status=status, body="first")),
        later(seconds),
        ask(*request, sees=sees(status=status, body="first")),
        **more,
    )  # fmt: skip


def goes(
    id: str, claim: str, clause: str, *lines: str, seconds: float = 0, status: int = 200, request: tuple[str, ...] = (), **more: Any
) -> Row:
    """So many seconds later the upstream is asked again, and its new answer is what the client sees."""
    return row(
        id, claim, clause,
        ask(*request, up=up(*lines, status=status, body="first")),
        later(seconds),
        ask(*request, up=up(body="second"), sees=sees(status=200, body="second")),
        **more,
    )  # fmt: skip


def lasts(id: str, claim: str, clause: str, *lines: str, seconds: float, **more: Any) -> Row:
    """Fresh for just so long: one second before the end it is served, at the end the upstream is asked."""
    return row(
        id, claim, clause,
        ask(up=up(*lines, body="first")),
        later(seconds - 1),
        ask(sees=sees(body="first")),
        later(1),
        ask(up=up(body="second")),
        **more,
    )  # fmt: skip
