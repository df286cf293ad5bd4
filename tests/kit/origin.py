"""A scriptable upstream for what nginx can't do: break off, stall, leave the length out, wait for the test's word.

Each path has a script, a function that gets the request and the line to the asker and sends what it likes, in a thread of its
own. A script that waits does so on a `Gate`, which the test opens; all gates open when the origin stops.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import responses

from tests.kit.waiting import eventually

Fields = Iterable[tuple[str, str]]
GATE_SECONDS = 60.0


@dataclass(frozen=True)
class Asked:
    """One request as it came: target to the byte, field names in lower case."""

    method: str
    target: bytes
    fields: dict[str, str]
    body: bytes = b""
    raw_fields: tuple[tuple[str, str], ...] = ()


@dataclass
class Gate:
    """Closed until the test opens it."""

    _event: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        self._event.wait(GATE_SECONDS)


class Line:
    """The way back to the asker."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.keep = True
        self.sent_bytes = 0

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)
        self.sent_bytes += len(data)

    def head(self, status: int, fields: Fields = (), *, length: int | None = None) -> None:
        """Status line and fields. length None: no Content-Length (the fields may say chunked; else the close is the end)."""
        lines = [f"HTTP/1.1 {status} {responses.get(status, 'Unnamed')}"]
        names = {name.lower() for name, _ in fields}
        lines += [f"{name}: {value}" for name, value in fields]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif "transfer-encoding" not in names and status >= 200 and status not in (204, 304):
            lines.append("Connection: close")
            self.keep = False
        self._connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        """One chunk; the empty one ends the body."""
        self._connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        self.sent_bytes += len(data)

    def cut(self, *, reset: bool = False) -> None:
        """End the connection here: quietly, or by a reset."""
        if reset:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self._connection.shutdown(socket.SHUT_RDWR)
        self.keep = False

    def is_gone(self) -> bool:
        """Whether the asker has closed. Waits for nothing."""
        self._connection.setblocking(False)
        try:
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._connection.setblocking(True)


Script = Callable[[Asked, Line], None]


class Origin:
    """Listens from construction to `stop`. `scripts` maps a path (without query) to its script; others get 404."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.scripts: dict[str, Script] = {}
        self._asked: list[Asked] = []
        self._gates: list[Gate] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._is_stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path: str, script: Script) -> str:
        """Set the script of a path; returns the path."""
        self.scripts[path] = script
        return path

    def gate(self) -> Gate:
        gate = Gate()
        self._gates.append(gate)
        return gate

    def asked(self, path: str | None = None) -> list[Asked]:
        """The requests so far, all or those for a path (whatever their query)."""
        with self._lock:
            return [one for one in self._asked if path is None or one.target.split(b"?")[0] == path.encode()]

    def wait_asked(self, path: str, count: int = 1, *, deadline_seconds: float = 20.0) -> list[Asked]:
        what = f"{count} request(s) for {path} at the origin"
        return eventually(lambda: self.asked(path) if len(self.asked(path)) >= count else [], what, deadline_seconds=deadline_seconds)

    def stop(self) -> None:
        """Close everything, the connections under way too."""
        self._is_stopped = True
        for gate in self._gates:
            gate.open()
        # A thread blocked in accept() keeps the port listening after a mere close.
        for one in [self._listener, *self._connections]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listener.close()

    def __enter__(self) -> Origin:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._is_stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(connection)
        try:
            reader = connection.makefile("rb")
            while not self._is_stopped and (asked := _read_request(reader, connection)):
                with self._lock:
                    self._asked.append(asked)
                line = Line(connection)
                script = self.scripts.get(asked.target.split(b"?")[0].decode("latin-1"), status(404, b"no such file"))
                script(asked, line)
                if not line.keep:
                    break
            reader.close()
        except OSError:
            pass  # the asker left in the middle: scripts don't care
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


def _read_request(reader, connection: socket.socket) -> Asked | None:
    first = reader.readline()
    if not first.strip():
        return None
    method, target, _ = first.rstrip(b"\r\n").split(b" ", 2)
    fields: list[tuple[str, str]] = []
    while (line := reader.readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.strip(), value.strip()))
    named = {name.lower(): value for name, value in fields}
    if named.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Asked(method.decode(), target, named, _read_body(reader, named), tuple(fields))


def _read_body(reader, named: dict[str, str]) -> bytes:
    if "chunked" in named.get("transfer-encoding", "").lower():
        body = b""
        while size := int(reader.readline().split(b";")[0], 16):
            body += reader.read(size)
            reader.readline()
        while reader.readline().strip():
            pass
        return body
    return reader.read(int(named.get("content-length", "0")))


def whole(body: bytes, fields: Fields = (), *, status: int = 200) -> Script:
    """The plain answer. HEAD gets the head alone."""
    fields = tuple(fields)

    def script(asked: Asked, line: Line) -> None:
        line.head(status, fields, length=len(body))
        if asked.method != "HEAD":
            line.send(body)

    return script


def status(code: int, body: bytes = b"", fields: Fields = ()) -> Script:
    return whole(body, fields, status=code)


def validating(body: bytes, etag: str, fields: Fields = ()) -> Script:
    """A file with an ETag: 304 to those who have it."""
    fields = (("ETag", etag), *fields)

    def script(asked: Asked, line: Line) -> None:
        if asked.fields.get("if-none-match") == etag:
            line.head(304, fields)
        else:
            whole(body, fields)(asked, line)

    return script


def ranged(
    body: bytes,
    etag: str = '"one"',
    *,
    fields: Fields = (),
    spoil: bool = False,
    obeys: bool = True,
    send: Callable[[Line, bytes], None] = Line.send,
) -> Script:
    """A file with an ETag whose parts can be had, one range at a time. spoil: each part has a digest that does not fit it. obeys: parts
    only where If-Range holds. send: how contents leave."""
    fields = (("ETag", etag), ("Accept-Ranges", "bytes"), *fields)
    wrong = [("Content-Digest", f"sha-256=:{base64.b64encode(hashlib.sha256(b'').digest()).decode()}:")] if spoil else []

    def script(asked: Asked, line: Line) -> None:
        first, _, last = asked.fields.get("range", "").removeprefix("bytes=").partition("-")
        if not first or (obeys and asked.fields.get("if-range", etag) != etag):
            line.head(200, fields, length=len(body))
            if asked.method != "HEAD":
                send(line, body)
            return
        start, end = int(first), min(int(last) + 1, len(body)) if last else len(body)
        if start >= len(body):
            line.head(416, [*fields, ("Content-Range", f"bytes */{len(body)}")], length=0)
            return
        line.head(206, [*fields, *wrong, ("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")], length=end - start)
        send(line, body[start:end])

    return script


def broken_off(body: bytes, after: int, fields: Fields = (), *, reset: bool = False, chunked: bool = False) -> Script:
    """Promises the whole body and ends after so many bytes of it."""
    fields = tuple(fields)

    def script(asked: Asked, line: Line) -> None:
        if chunked:
            line.head(200, (*fields, ("Transfer-Encoding", "chunked")))
            line.chunk(body[:after])
        else:
            line.head(200, fields, length=len(body))
            line.send(body[:after])
        line.cut(reset=reset)

    return script


def lengthless(body: bytes, fields: Fields = (), *, chunked: bool) -> Script:
    """No Content-Length: chunked, or ended by the close of the connection."""
    fields = tuple(fields)

    def script(_: Asked, line: Line) -> None:
        if chunked:
            line.head(200, (*fields, ("Transfer-Encoding", "chunked")))
            for at in range(0, len(body), 65536):
                line.chunk(body[at : at + 65536])
            line.chunk(b"")
        else:
            line.head(200, fields)
            line.send(body)

    return script


def gated(parts: list[bytes], gates: list[Gate], fields: Fields = ()) -> Script:
    """Part 0 at once, part n+1 when gate n opens; the length is told at the start. One gate less than parts."""
    fields = tuple(fields)

    def script(_: Asked, line: Line) -> None:
        line.head(200, fields, length=sum(map(len, parts)))
        line.send(parts[0])
        for part, gate in zip(parts[1:], gates, strict=True):
            gate.wait()
            line.send(part)

    return script


def held(gate: Gate, script: Script) -> Script:
    """Silent until the gate opens; then as the script."""

    def waiting(asked: Asked, line: Line) -> None:
        gate.wait()
        script(asked, line)

    return waiting
