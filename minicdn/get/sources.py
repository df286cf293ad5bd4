"""Whom to ask: the manager's peers, those named, and at last the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from minicdn.core.nodeurl import parse_node_url
from minicdn.core.pieces import Dealer
from minicdn.core.rendezvous import rank
from minicdn.errors import SourcesFailed
from minicdn.get.asking import Asker, SourceFailed, origin_of
from minicdn.get.wish import Wish, without_base

PEERS_MAX = 64
"""More are not asked: the file's own nearest, so that everybody asks the same ones."""


@dataclass(frozen=True, slots=True)
class _Ranked:
    id: str
    weight: float
    dealer: Dealer


@dataclass(frozen=True, slots=True)
class Sources:
    """peers: in the file's own order (rendezvous), nearest first. last: full URLs, for when no peer is left."""

    wish: Wish
    peers: tuple[Dealer, ...]
    last: tuple[str, ...]

    @property
    def in_order(self) -> tuple[str, ...]:
        """Their names: a peer's URL, or a full URL."""
        return tuple(peer.url for peer in self.peers) + self.last

    def url_of(self, name: str) -> str:
        """What to ask the one of that name for."""
        return name if name in self.last else name + self.wish.target


async def find_sources(wish: Wish, asker: Asker) -> Sources:
    """Asks the manager, where there is one. SourcesFailed where nobody is known to ask."""
    found = [Dealer(peer) for peer in wish.peers]
    last = [wish.url] if wish.url is not None else []
    if wish.manager is not None:
        try:
            listed, wish = await _listed(wish, wish.manager, asker)
            found += [peer for peer in listed if peer.url not in wish.peers]
            last.insert(0, wish.manager + wish.target)
        except SourceFailed as error:
            is_elsewhere = wish.url is not None and not wish.url.startswith(wish.manager + "/")
            if not found and not is_elsewhere:
                raise SourcesFailed(f"the manager can't be reached: {error}") from None
    elif wish.pin is not None and wish.url is not None:
        with suppress(SourceFailed):  # any server may be known by its certificate; a manager's redirects lead to its peers
            _note_pins(await asker.json(f"{origin_of(wish.url)}/_peers"), asker)
    if wish.peers and wish.url is None and wish.manager is None:
        last = []
    return Sources(wish, _nearest(wish.key, found), tuple(dict.fromkeys(last)))


async def _listed(wish: Wish, manager: str, asker: Asker) -> tuple[list[Dealer], Wish]:
    pages = [asker.json(f"{manager}/_peers")]
    if wish.url is not None:
        pages.append(asker.json(f"{manager}/_health"))
    shown, *health = await asyncio.gather(*pages)
    _note_pins(shown, asker)
    upstream = health[0].get("upstream") if health else None
    return take_peers(shown), without_base(wish, upstream) if isinstance(upstream, str) else wish


def _note_pins(shown: dict[str, Any], asker: Asker) -> None:
    for url, pin in take_pins(shown).items():
        asker.pins.setdefault(url, pin)


def take_peers(shown: dict[str, Any]) -> list[Dealer]:
    """The peers of a `/_peers` page, with their shares of large files; what is no peer is left out. Those who may not own pieces come
    with weight 0."""
    found = {}
    for url, row in _rows(shown):
        try:
            weight = float(row.get("share", row.get("weight", 1.0)))
        except (ValueError, TypeError):
            continue
        found[url] = Dealer(url, weight if 0 <= weight < 1e6 else 1.0)
    return list(found.values())


def take_pins(shown: dict[str, Any]) -> dict[str, str]:
    """The fingerprints of the peers' certificates on a `/_peers` page, by URL."""
    return {url: row["fingerprint"] for url, row in _rows(shown) if isinstance(row.get("fingerprint"), str)}


def _rows(shown: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in shown.get("peers") or []:
        try:
            url = parse_node_url(row["url"])
        except (ValueError, TypeError, LookupError, AttributeError):
            continue
        if isinstance(row, dict):
            yield url, row


def _nearest(key: str, peers: list[Dealer]) -> tuple[Dealer, ...]:
    owners = [peer for peer in peers if peer.weight > 0] or [Dealer(peer.url) for peer in peers]
    ranked = rank(key, [_Ranked(peer.url, 1.0, peer) for peer in owners], PEERS_MAX)
    return tuple(row.dealer for row in ranked)
