"""One line of the log: who got what from which node, and what the client's own headers said about it.

A client may attach a note to a request: `X-Minicdn-Data: …`, with `X-Minicdn-Type: json` when the note is JSON. The note
lands in the line, as a JSON value or as text. It comes from anybody, so it is accepted as JSON only when it can also be
written as JSON again: numbers without end, endless nesting and the like stay text.

A line in the log, on one line:

    {"data": {"action": "LOG", "header_data": …, "key": …, "remote_addr": …, "success": true, "user_agent": …},
     "peer": "http://…", "timestamp": 1436945573}

with `method`, `status`, `bytes`, `source` and `duration_seconds` besides, inside `data`. Where lines were lost, a line with
the action DROPPED and the `count` stands in their place.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from json.encoder import encode_basestring as _quoted
from math import isfinite
from typing import Any, NamedTuple

LINES_ALIKE_MAX, ALIKE_CHARACTERS_MAX = 1024, 512
"""Of lines whose middle is remembered, and how long what a client says in one may be: its fields may have 64 KiB."""
ADDRESSES_MAX = 4096
SHORT_SECONDS = 1_000_000
SOURCES = ("memory", "disk", "peer", "upstream", "none")
NOTE_LEVELS_MAX = 32
"""A note nested deeper stays text: writing it again needs stack, and how much is left differs from place to place."""


class LogLine(NamedTuple):
    """key: what was asked for. remote_addr: "ip:port". success: the client was sent all of an answer below 400.

    header_data: None, text, or a JSON value (parse_header_data). bytes: of the body, as sent. source: one of SOURCES.
    timestamp: the serving node's wall clock, whole seconds since 1970. A tuple, since one is made for each request: a frozen
    dataclass takes six times as long.
    """

    key: str
    remote_addr: str
    user_agent: str
    success: bool
    header_data: Any
    method: str
    status: int
    bytes: int
    source: str
    duration_seconds: float
    timestamp: int

    def to_json(self, peer_url: str) -> dict[str, Any]:
        """The line as a JSON object; `peer_url` is the URL under which the serving node is known."""
        data = {
            "action": "LOG",
            "header_data": self.header_data,
            "key": self.key,
            "remote_addr": self.remote_addr,
            "success": self.success,
            "user_agent": self.user_agent,
            "method": self.method,
            "status": self.status,
            "bytes": self.bytes,
            "source": self.source,
            "duration_seconds": json.loads(_duration(self.duration_seconds)),
        }
        return {"data": data, "peer": peer_url, "timestamp": self.timestamp}

    def to_text(self, peer_url: str) -> bytes:
        """The same as encode_line makes of to_json, in a tenth of its time. Raises ValueError for what JSON has no word for."""
        key, remote_addr, _, _, note, _, _, _, _, seconds, timestamp = self
        around = _around if len(self.user_agent) + len(self.method) <= ALIKE_CHARACTERS_MAX else _written_around
        if note is None:
            before, middle, after = around(self[2:9], peer_url)
        else:
            before, middle, after = around((*self[2:4], None, *self[5:9]), peer_url)
            before = f'{{"data":{{"action":"LOG","header_data":{_to_json(note)},"key":'
        text = f"{before}{_quoted(key)}{middle[0]}{_quoted(remote_addr)}{middle[1]}{_duration(seconds)}{after}{timestamp}}}\n"
        try:
            return text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "backslashreplace")


line_of = partial(tuple.__new__, LogLine)
"""A line of all its parts in their order, uncounted: LogLine._make in a third of its time."""


def _duration(seconds: float) -> str:
    """To the microsecond, as to_json says it. (To have floats rounded and written is most of what making a line takes, and most durations
    are nought.) Raises ValueError."""
    if not seconds:
        return "0.0"
    if 0 < seconds < SHORT_SECONDS:
        micros = int(seconds * 1_000_000 + 0.5)
        return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
    if not isfinite(seconds):
        raise ValueError("a duration without end")
    return repr(round(seconds, 6))


def _written_around(alike: tuple[str, bool, None, str, int, int, str], peer_url: str) -> tuple[str, tuple[str, str], str]:
    """A line's text before the key, about the address, and from the duration to the time: the same for many requests."""
    user_agent, success, _, method, status, size, source = alike
    middle = (
        f',"success":{"true" if success else "false"},"user_agent":{_quoted(user_agent)},"method":{_quoted(method)},'
        f'"status":{status},"bytes":{size},"source":{_quoted(source)},"duration_seconds":'
    )
    start = '{"data":{"action":"LOG","header_data":null,"key":'
    return start, (',"remote_addr":', middle), f'}},"peer":{_quoted(peer_url)},"timestamp":'


_around = lru_cache(LINES_ALIKE_MAX)(_written_around)


@lru_cache(ADDRESSES_MAX)
def address_text(host: str, port: int) -> str:
    """A line's remote_addr: an IPv6 address stands in brackets."""
    return f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"


def dropped_json(count: int, peer_url: str, timestamp: int) -> dict[str, Any]:
    """What stands in the place of `count` lost lines."""
    return {"data": {"action": "DROPPED", "count": count}, "peer": peer_url, "timestamp": timestamp}


def encode_line(line: dict[str, Any]) -> bytes:
    """One line of JSON in UTF-8, with its line feed.

    Half a surrogate pair has no UTF-8; `backslashreplace` writes it as \\udXXX, which happens to be JSON's own escape.
    """
    return _to_json(line).encode("utf-8", "backslashreplace") + b"\n"


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def parse_header_data(data: bytes | None, type_: bytes | None) -> Any:
    """The client's note: None when absent, the JSON value when announced as JSON and valid, else the text."""
    if data is None:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if type_ is None or type_.strip().lower() != b"json":
        return text
    return parse_json_note(text)


def parse_json_note(text: str) -> Any:
    """The value, or the text itself where it is no JSON that can be written again (RFC 8259 has no NaN and no Infinity)."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value if _is_within_levels(value, NOTE_LEVELS_MAX) else text


def _is_within_levels(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_within_levels(item, levels - 1) for item in inner)
