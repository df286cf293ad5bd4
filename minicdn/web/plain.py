"""Which requests are plain: nothing in their fields could change the answer, but for what is `asked` for, which is told apart.

One head and nothing else, and only fields of a known, harmless list. A precondition by entity tag and a Range are the two that clients
send all the time; who answers from what he knows (express.py) must take them into account.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HARMLESS = frozenset(
    b"host user-agent accept accept-encoding accept-language accept-charset cookie referer origin dnt priority upgrade-insecure-requests "
    b"sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-gpc "
    b"x-forwarded-for x-forwarded-proto x-real-ip".split()
)
_ASKING = frozenset((b"if-none-match", b"range"))
_HOST = re.compile(rb"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")

Asked = tuple[tuple[bytes, bytes], ...]


class Plain(NamedTuple):
    """user_agent: "" where there is none. asked: If-None-Match and Range, in their order. fields: all, as the parser gives them."""

    user_agent: str
    asked: Asked
    fields: Asked = ()


def parse_plain(block: bytes) -> Plain | None:
    """What follows the request line, up to and with the empty line; None where it is not plain."""
    if block[-4:] != b"\r\n\r\n":
        return None
    user_agent: str | None = None
    hosts_count = 0
    asked: list[tuple[bytes, bytes]] = []
    fields: list[tuple[bytes, bytes]] = []
    for line in block[:-4].split(b"\r\n"):
        match = _FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match.group(1).lower(), match.group(2).rstrip(b" \t")
        fields.append((name, value))
        if name == b"connection":
            if value.lower() != b"keep-alive":
                return None
        elif name in _ASKING:
            asked.append((name, value))
        elif name not in _HARMLESS:
            return None
        elif name == b"user-agent" and user_agent is None:
            user_agent = value.decode("utf-8", "replace")
        elif name == b"host":
            if not _HOST.fullmatch(value):
                return None
            hosts_count += 1
    return Plain(user_agent or "", tuple(asked), tuple(fields)) if hosts_count == 1 else None
