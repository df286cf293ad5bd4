"""A small HTTP client that sends exactly the bytes it is given, reads as slowly as it is told, and knows a cut from an end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import urlsplit

Fields = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """is_whole: the body ended where the answer said that it would."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    is_whole: bool = True

    def get(self, name: str) -> str | None:
        """All lines of that name, joined by a comma; None where there is none."""
        values = [value for one, value in self.fields if one.lower() == name.lower()]
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self.fields}"
        return value


class Open:
    """An answer under way: the head is here, the body is read piece by piece. Close it, or use it in `with`."""

    def __init__(self, connection: socket.socket, method: str) -> None:
        self._connection = connection
        self._response = HTTPResponse(connection, method=method)
        self._response.begin()
        self.status = self._response.status
        self.fields = tuple(self._response.getheaders())

    def read(self, count: int) -> bytes:
        """Exactly so many bytes, or fewer at the end of the body. A cut raises IncompleteRead or an OSError."""
        parts, left = [], count
        while left and (part := self._response.read1(left) if self._response.chunked is False else self._response.read(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def rest(self) -> bytes:
        return self._response.read()

    def close(self) -> None:
        """Go away, whatever is still to come."""
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Open:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_answer(
    url: str,
    target: bytes | str | None = None,
    *,
    method: str = "GET",
    fields: Fields = (),
    body: bytes | None = None,
    deadline_seconds: float = 60.0,
    receive_buffer_bytes: int | None = None,
) -> Open:
    """Ask `url`'s server for `target` (the url's own path and query if None), sent to the byte, and wait for the head.

    deadline_seconds bounds each single wait for the socket. receive_buffer_bytes: a small one makes a slow reader felt early.
    """
    parts = urlsplit(url)
    if target is None:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    raw = target if isinstance(target, bytes) else target.encode("ascii")
    connection: socket.socket = socket.socket()
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(deadline_seconds)
    try:
        connection.connect((parts.hostname, parts.port))
        if parts.scheme == "https":
            connection = _any_certificate().wrap_socket(connection)
        connection.sendall(_request(method, raw, parts.netloc, list(fields), body))
        return Open(connection, method)
    except BaseException:
        connection.close()
        raise


def _any_certificate() -> ssl.SSLContext:
    """For tests about something else than whom to trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _request(method: str, target: bytes, host: str, fields: list[tuple[str, str]], body: bytes | None) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target)]
    if not any(name.lower() == "host" for name, _ in fields):
        lines.append(b"Host: " + host.encode())
    lines += [f"{name}: {value}".encode() for name, value in fields]
    lines.append(b"Connection: close")
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def ask(url: str, target: bytes | str | None = None, **options) -> Answer:
    """The whole answer. A cut in the body gives what came, with `is_whole` false; no answer at all raises."""
    with open_answer(url, target, **options) as answer:
        try:
            return Answer(answer.status, answer.fields, answer.rest())
        except IncompleteRead as cut:
            return Answer(answer.status, answer.fields, cut.partial, is_whole=False)
        except (HTTPException, OSError):
            return Answer(answer.status, answer.fields, b"", is_whole=False)


def ask_following(url: str, **options) -> Answer:
    """As `ask`, through the manager's redirect, one step."""
    answer = ask(url, **options)
    return ask(answer["Location"], **options) if answer.status == 302 else answer


def ask_all(urls: Iterable[str], *, at_once: int, follow: bool = False, **options) -> list[Answer]:
    """The answers in the order of the urls, so many asked at the same time."""
    one = ask_following if follow else ask
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda url: one(url, **options), urls))
