"""Requests as they arrive, cut where one ends and the next begins.

The parser tells what it has read, not how far; and it knows only registered methods and ASCII targets. So each request is handed to it
alone, its first line in words that it takes, and what the line really said is remembered. What comes too early waits in the connection.
"""

from __future__ import annotations

import re

from minicdn.web.protocol import HEAD_BYTES_MAX, ascii_target

HEAD_END = b"\r\n\r\n"
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
PARSED_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PURGE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND "
    b"ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE MKCALENDAR LINK UNLINK SOURCE".split()
)
"""Methods that httptools' parser knows."""
_MAY_BECOME_A_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}(?: [^\x00-\x1f\x7f]*\r?)?")
_BLANK = b"\r\n"


class Refusal(Exception):
    """What came is no request; it is answered so, and the connection closed. Where `text` is "", it is closed without a word."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Inflow:
    """Where in the stream of requests a connection is. method, target: as they were written, where the parser got others."""

    __slots__ = ("_body_bytes", "_field_bytes", "_head_bytes", "_tail", "has_body", "is_between", "is_in_head", "method", "target")

    def __init__(self) -> None:
        self.is_between = True
        self.is_in_head = False
        self.has_body = False
        self.method: bytes | None = None
        self.target: bytes | None = None
        self._tail = b""
        self._head_bytes = 0
        self._field_bytes = 0
        self._body_bytes: int | None = None

    def begin(self, data: bytes) -> bytes:
        """The start of a request, as the parser takes it; empty while its first line is not there. Raises Refusal."""
        data = data.lstrip(_BLANK)  # RFC 9112 §2.2
        line_end = data.find(b"\n")
        if line_end < 0 and (not data or _MAY_BECOME_A_LINE.fullmatch(data)):
            if len(data) > HEAD_BYTES_MAX:
                raise too_long()
            return b""
        self.is_between, self.is_in_head = False, True
        self.method = self.target = None
        self._tail = b""
        self._head_bytes = self._field_bytes = 0
        return self._adapted(data, line_end)

    def _adapted(self, data: bytes, line_end: int) -> bytes:
        method, space, rest = data.partition(b" ")
        if space and method not in PARSED_METHODS and TOKEN.fullmatch(method):
            self.method = method
            data = b"POST " + rest
            line_end += len(data) - len(method) - 1 - len(rest)
        line = data[: max(line_end, 0)]
        if line.isascii():
            return data
        self.target = line.rstrip(b"\r").partition(b" ")[2].rpartition(b" ")[0]
        return ascii_target(line) + data[len(line) :]

    def piece_bytes(self, data: bytes) -> int:
        """How much of `data` belongs to the head, or else to the body, of the request under way. Raises Refusal."""
        if not self.is_in_head:
            return len(data) if self._body_bytes is None else self._take_body(len(data))
        joined = self._tail + data
        at = joined.find(HEAD_END)
        size = len(data) if at < 0 else at + len(HEAD_END) - len(self._tail)
        self._tail = joined[-len(HEAD_END) + 1 :]
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            raise too_long()
        return size

    def _take_body(self, size: int) -> int:
        assert self._body_bytes is not None
        size = min(size, self._body_bytes) or size
        self._body_bytes -= size
        return size

    def count_field(self, size: int) -> None:
        """A field line of so many bytes, in the head or behind the last chunk. Raises Refusal."""
        self._field_bytes += size
        if self._field_bytes > HEAD_BYTES_MAX:
            raise too_long()

    def end_head(self, length: bytes | None, *, is_chunked: bool) -> None:
        """length: of the body, as the request says it; the parser has checked it."""
        self.is_in_head = False
        self._field_bytes = 0
        self._body_bytes = None if is_chunked else int(length or 0)
        self.has_body = self._body_bytes != 0

    @property
    def framing(self) -> bytes:
        """A head that says of the body what this one's says, and nothing else."""
        field = b"Transfer-Encoding: chunked" if self._body_bytes is None else b"Content-Length: %d" % self._body_bytes
        return b"POST / HTTP/1.1\r\n" + field + HEAD_END

    def end(self) -> None:
        """The request is whole."""
        self.is_between, self.is_in_head = True, False


def too_long() -> Refusal:
    return Refusal(431, f"the request's head is longer than {HEAD_BYTES_MAX} bytes")
