"""What a server answers, as far as a load test cares: the status, where the body ends, and where it says that it came from. Pure.

The same heads come again and again, so they are kept (Heads): an answer in memory differs from the one before it in its Age at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADS_MAX = 1024
LINE_BYTES_MAX = 1024
DIGITS_MAX = 18
"""Of a length: less than 2⁶³."""
BODILESS = (204, 304)
UNKNOWN = "unknown"
_FIELDS = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|location|x-cache|cache-status|x-cache-status):[ \t]*([^\r\n]*)", re.IGNORECASE
)
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?")
_X_CACHE = re.compile(rb"([A-Za-z_-]+)(?: from [^,]* \(([a-z]+)\))?")
_WORDS = {"hit": "hit", "miss": "miss", "stale": "stale", "expired": "miss", "bypass": "miss", "updating": "stale", "revalidated": "hit"}


class NoHttp(Exception):
    """What comes is no answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """length: of the body; None: it is chunked, or ends with the connection. cache: hit, miss, stale. source: memory, disk and so on."""

    status: int
    length: int | None
    is_chunked: bool
    keeps_alive: bool
    location: bytes | None
    cache: str
    source: str


class Heads:
    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def parse(self, head: bytes) -> Head:
        """head: without its empty line. Raises NoHttp."""
        found = self._known.get(head)
        if found is None:
            if len(self._known) >= HEADS_MAX:
                self._known.clear()
            found = self._known[head] = parse_head(head)
        return found


def parse_head(head: bytes) -> Head:
    """Raises NoHttp."""
    status_line = _STATUS.match(head)
    if status_line is None:
        raise NoHttp(f"no HTTP answer: {head[:40].decode('latin-1')!r}")
    fields = {name.lower(): value.strip() for name, value in _FIELDS.findall(head)}  # of several lines the last: the nearest cache's
    status, length = int(status_line[2]), fields.get(b"content-length")
    if length is not None and (not length.isdigit() or len(length) > DIGITS_MAX):  # Python reads no number of 5,000 digits
        raise NoHttp(f"a length that is none: {length[:40].decode('latin-1')!r}")
    is_chunked = b"chunked" in fields.get(b"transfer-encoding", b"").lower()
    wish = fields.get(b"connection", b"").lower()
    keeps_alive = b"close" not in wish and (status_line[1] == b"1" or b"keep-alive" in wish)
    is_bodiless = status in BODILESS or status < 200
    bounded = 0 if is_bodiless else None if is_chunked or length is None else int(length)
    return Head(status, bounded, is_chunked and not is_bodiless, keeps_alive, fields.get(b"location"), *_origin_of(fields))


def _origin_of(fields: dict[bytes, bytes]) -> tuple[str, str]:
    """What the nearest cache says: X-Cache as minicdn writes it, or as others do, else Cache-Status (RFC 9211)."""
    said = fields.get(b"x-cache") or fields.get(b"x-cache-status")
    match = _X_CACHE.match(said.rpartition(b",")[2].strip()) if said is not None else None
    word = _WORDS.get(match[1].decode().lower().removeprefix("tcp_").partition("_")[0], UNKNOWN) if match else UNKNOWN
    source = match[2].decode() if match and match[2] else UNKNOWN
    member = fields.get(b"cache-status", b"").rpartition(b",")[2]
    if word == UNKNOWN and member:
        word = "hit" if re.search(rb";[ \t]*hit(?:[ \t]*;|[ \t]*$)", member) else "miss" if b"fwd=" in member else UNKNOWN
    return word, source


class Chunks:
    """Where a chunked body ends (RFC 9112 §7.1)."""

    __slots__ = ("_left", "_line", "_state")

    def __init__(self) -> None:
        self._state = "size"
        self._line = b""
        self._left = 0

    def feed(self, data: bytes) -> tuple[int, int | None]:
        """(content octets in it, where in `data` the body ended or None). Raises NoHttp."""
        at, content = 0, 0
        while at < len(data):
            if self._state == "content":
                taken = min(self._left, len(data) - at)
                at, content, self._left = at + taken, content + taken, self._left - taken
                if not self._left:
                    self._state = "end"
                continue
            line_end = data.find(b"\n", at)
            self._line += data[at:] if line_end < 0 else data[at:line_end]
            if len(self._line) > LINE_BYTES_MAX:
                raise NoHttp("a chunk's line is too long")
            if line_end < 0:
                return content, None
            at = line_end + 1
            line, self._line = self._line.rstrip(b"\r"), b""
            if self._take_line(line):
                return content, at
        return content, None

    def _take_line(self, line: bytes) -> bool:
        """Whether it was the last."""
        if self._state == "trailers":
            return not line
        if self._state == "end":
            self._state = "size"
            return False
        size = line.partition(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise NoHttp(f"no chunk: {line[:40].decode('latin-1')!r}") from None
        self._state = "content" if self._left else "trailers"
        return False
