"""What all swarms of a node work with."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from minicdn.core.counters import Counters
from minicdn.core.uplink import UplinkMeter
from minicdn.node.clock import Clock
from minicdn.node.limits import Limits
from minicdn.store.shelf import Shelf
from minicdn.wire.peers import PeerClient


class SwarmParts:
    """may_use_upstream: leave to ask the upstream as the last resort (a lease); release: gives it back."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        client: PeerClient,
        clock: Clock,
        counters: Counters,
        rng: random.Random,
        may_use_upstream: Callable[[str], Awaitable[bool]],
        limits: Limits,
        uplink: UplinkMeter,
        via: Callable[[list[tuple[bytes, bytes]]], list[tuple[bytes, bytes]]] = lambda fields: fields,
        on_lie: Callable[[str, str, int], None] = lambda url, key, index: None,
        on_changed: Callable[[str], None] = lambda key: None,
        release: Callable[[str], None] = lambda key: None,
    ) -> None:
        self.shelf, self.client, self.clock, self.counters, self.rng = shelf, client, clock, counters, rng
        self.may_use_upstream, self.release = may_use_upstream, release
        self.limits = limits
        self.uplink = uplink
        self.via = via
        self.on_lie = on_lie
        self.on_changed = on_changed
