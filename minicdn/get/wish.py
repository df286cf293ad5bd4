"""What is wanted, from what was typed: which file, whom to ask about it, and how the result is to be called. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from minicdn.core.nodeurl import parse_node_url
from minicdn.core.target import ascii_url, parse_target, split_absolute
from minicdn.errors import ClientError, UsageError

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Wish:
    """target: path and query as they are sent. key: their one spelling, by which owners are found. url: the file's own URL where one was
    given. pin: of the manager's certificate, or of those who are asked in its place. identity: what a part on disk must be of, to be
    gone on with."""

    target: str
    key: str
    url: str | None
    manager: str | None
    peers: tuple[str, ...]
    pin: str | None = None

    @property
    def pins(self) -> dict[str, str]:
        """The fingerprints that are known before anybody is asked, by the node's URL."""
        if self.pin is None:
            return {}
        url = split_absolute(self.url.encode("ascii")) if self.url is not None else None
        asked = [self.manager] if self.manager else [*self.peers, *([_node(f"{url[0]}://{url[1]}")] if url else [])]
        return dict.fromkeys(asked, self.pin)

    @property
    def identity(self) -> str:
        return (self.manager or (self.peers[0] if self.peers else "") or self.url or "") + self.key

    @property
    def shown(self) -> str:
        return self.url or self.identity

    @property
    def name(self) -> str:
        """The path's last segment, decoded where that makes a file name; empty where there is none."""
        segment = self.target.partition("?")[0].rpartition("/")[2]
        decoded = unquote(segment)
        return decoded if decoded.isprintable() and not set(decoded) & set("/\\") and decoded not in (".", "..") else segment


def parse_wish(what: str, manager: str | None, peers: Sequence[str], pin: str | None = None) -> Wish:
    """UsageError where it can't be meant."""
    text = ascii_url(what)
    parts = split_absolute(text.encode("ascii"))
    if parts is None and (not text.startswith("/") or not (manager or peers)):
        wanted = "a path such as /big.iso" if manager or peers else "a URL such as http://192.168.1.5:11000/big.iso (paths need --manager)"
        raise UsageError(f"{what!r} is not {wanted}")
    target = parts[2].decode("ascii") if parts else text
    url = f"{parts[0]}://{parts[1]}{target}" if parts else None
    try:
        key = parse_target(target.encode("ascii"))
    except ClientError as error:
        raise UsageError(f"{what!r}: {error}") from None
    if parts is not None:
        _node(f"{parts[0]}://{parts[1]}")
    return Wish(target, key, url, _node(manager) if manager else None, tuple(_node(peer) for peer in peers), pin)


def _node(url: str) -> str:
    try:
        return parse_node_url(url.rstrip("/"))
    except ValueError as error:
        raise UsageError(str(error)) from None


def without_base(wish: Wish, upstream: str) -> Wish:
    """The wish as the manager's peers know it: a URL of their upstream names the file without the path that all of its files share."""
    parts, home = split_absolute((wish.url or "").encode("latin-1", "replace")), split_absolute(upstream.encode("latin-1", "replace"))
    if parts is None or home is None or parts[:2] != home[:2]:
        return wish
    base = home[2].decode().rstrip("/")
    if not base or not wish.target.startswith(base + "/"):
        return wish
    target = wish.target[len(base) :]
    return replace(wish, target=target, key=parse_target(target.encode("ascii")))
