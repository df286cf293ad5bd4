"""What is asked for: URLs as they were typed, or one on each line of a list, and the requests that they become. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from minicdn.core.nodeurl import parse_node_url
from minicdn.core.target import ascii_url, split_absolute
from minicdn.errors import UsageError

URLS_MAX = 100_000
FIELDS_MAX = 50
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\t]*)")
_RANGE = re.compile(r"(?:bytes=)?([0-9]+-[0-9]*|-[0-9]+)")
_OWN = ("host", "content-length", "transfer-encoding", "connection", "expect", "upgrade")


@dataclass(frozen=True, slots=True)
class Target:
    """origin: scheme, host and port, in their one spelling. path: with its query, as it is sent."""

    origin: str
    path: bytes

    @property
    def url(self) -> str:
        return self.origin + self.path.decode("ascii")


def parse_targets(urls: Iterable[str], lines: Iterable[str] = ()) -> list[Target]:
    """lines: of a list; a path there is one of the first URL's server. UsageError."""
    found = [_target(url) for url in urls]
    for line in lines:
        text = line.strip()
        if text.startswith("/") and found:
            found.append(_target(found[0].origin + text))
        elif text and not text.startswith("#"):
            found.append(_target(text))
        if len(found) > URLS_MAX:
            raise UsageError(f"more than {URLS_MAX} URLs")
    if not found:
        raise UsageError("no URL is given")
    return found


def _target(text: str) -> Target:
    parts = split_absolute(ascii_url(text).encode("ascii"))
    if parts is None:
        raise UsageError(f"{text!r} is not a URL such as http://192.168.1.5:11000/big.iso")
    try:
        return Target(parse_node_url(f"{parts[0]}://{parts[1]}"), parts[2])
    except ValueError as error:
        raise UsageError(str(error)) from None


def redirected(target: Target, location: bytes) -> Target | None:
    """None: it leads nowhere that can be asked."""
    try:
        return _target(urljoin(target.url, location.decode("latin-1").strip()))
    except (UsageError, ValueError):
        return None


def parse_fields(headers: Sequence[str], range_: str | None) -> bytes:
    """The fields that each request has besides its own, as octets. UsageError."""
    lines = []
    for text in headers:
        match = _FIELD.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"--header: {text!r} is not a field such as 'Accept: text/html'")
        if match[1].lower() in _OWN:
            raise UsageError(f"--header: {match[1]} is not for you to say")
        lines.append(f"{match[1]}: {match[2]}\r\n")
    if len(lines) > FIELDS_MAX:
        raise UsageError(f"--header: more than {FIELDS_MAX}")
    if range_ is not None:
        match = _RANGE.fullmatch(range_.strip())
        if match is None:
            raise UsageError(f"--range: {range_!r} is not a range such as 0-1023, 1000- or -500")
        lines.append(f"Range: bytes={match[1]}\r\n")
    return "".join(lines).encode("ascii")


def request_tail(origin: str, fields: bytes) -> bytes:
    """What follows the target in each request to that server."""
    return b" HTTP/1.1\r\nHost: " + origin.partition("://")[2].encode("ascii") + b"\r\n" + fields + b"\r\n"
