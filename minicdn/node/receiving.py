"""A head has come: which entry and body its bytes go into, and what it says of what is stored already."""

from __future__ import annotations

from collections.abc import Callable

from minicdn.core.counters import Counters
from minicdn.core.freshness import Policy, apply_head, fits, freshen
from minicdn.core.partial import may_combine
from minicdn.core.stored import is_fresh
from minicdn.core.vary import is_same_variant
from minicdn.errors import UpstreamError
from minicdn.node.clock import Clock
from minicdn.node.fill import Fill, Outcome
from minicdn.node.supply import FOUND, Supply
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf


class Receiving:
    def __init__(self, shelf: Shelf, clock: Clock, counters: Counters, policy: Callable[[], Policy]) -> None:
        self._shelf = shelf
        self._clock = clock
        self._counters = counters
        self._policy = policy

    def settle(self, fill: Fill, supply: Supply) -> None:
        """What was purged meanwhile is out of date already."""
        if supply.stored is not None:
            fill.is_gone = fill.told.is_gone(fill.request.key, supply.stored)
            supply.stored = fill.told.settle(fill.request.key, supply.stored, supply.source, self._clock.wall())

    def confirm(self, fill: Fill, supply: Supply) -> None:
        """What is held is right still: only the facts are new. Raises UpstreamError."""
        held = fill.held
        if held is None or held.stored is None:
            raise UpstreamError("a 304 that nobody asked for")
        stored = supply.stored
        if supply.source == "upstream":
            stored = held.stored
            if fits(held.stored, supply.head):
                stored = freshen(held.stored, supply.head, supply.request_at, supply.response_at, self._policy(), fill.request)
            self._counters.add("revalidations_count")
        if stored is None:
            raise UpstreamError("a confirmation without facts")
        self._shelf.restate(held, fill.told.settle(fill.request.key, stored, supply.source, self._clock.wall()))
        fill.publish(
            Outcome(
                held,
                is_confirmed=True,
                is_stale=supply.is_stale,
                source=held.body.medium,
                status=supply.status,
                detail=supply.detail,
                member=supply.member,
            )
        )

    def whole_entry(self, fill: Fill, supply: Supply) -> Entry:
        """A new entry for a whole body; or, where a part may not or can't be kept, for the part alone, to be passed on."""
        if supply.end is not None:
            part_head = supply.part_head or supply.head
            return Entry(fill.request.key, part_head, None, Body(None, supply.end - supply.offset))
        is_kept = supply.kind is FOUND and fill.request.method == "GET" and fill.may_keep
        body = self._shelf.new_body(fill.request.key, supply.length, is_kept=is_kept)
        entry = Entry(fill.request.key, supply.head, supply.stored, body, is_hot=fill.is_hot and supply.source == "peer")
        if is_kept and body.is_kept and not fill.is_gone:
            self._shelf.begin(entry)
        return entry

    def whole_now(self, fill: Fill, supply: Supply) -> Entry | None:
        """Others, who asked for more, have brought all of it before this part's head; a part in its place would have the rest asked anew.
        What has lost its freshness meanwhile is not taken: the head is news, and is to be stored."""
        if supply.end is None or supply.kind is not FOUND:
            return None
        now, whole = self._clock.wall(), None
        for entry in self._shelf.find(fill.request.key):
            if not is_of(supply, entry):
                continue
            if entry.body.is_partial:
                return None  # somebody waits for these bytes there
            if entry.body.is_whole and (entry is fill.base or (entry.stored is not None and is_fresh(entry.stored, now))):
                whole = entry
        return whole

    def part_entry(self, fill: Fill, supply: Supply) -> Entry | None:
        """The partial entry that a part belongs to: one on the shelf with the same body, else a new one. None where there can be none."""
        assert supply.end is not None
        entry = self.partial_entry(fill, supply)
        if entry is not None:
            fill.span = (supply.offset, supply.end)
            entry.body.expect(*fill.span)
        return entry

    def partial_entry(self, fill: Fill, supply: Supply) -> Entry | None:
        entry = next((entry for entry in self._shelf.find(fill.request.key) if entry.body.is_partial and is_of(supply, entry)), None)
        if entry is None:
            if fill.base is not None:
                self._shelf.remove(fill.base)  # the upstream has another version now
            body = self._shelf.new_body(fill.request.key, supply.length)
            entry = Entry(fill.request.key, supply.head, supply.stored, body, is_hot=fill.is_hot and supply.source == "peer")
            if not body.is_kept or not self._shelf.begin_partial(entry):
                self._shelf.drop(body)
                return None
        return entry

    def apply_head(self, fill: Fill, supply: Supply) -> None:
        """HEAD brings news of what is stored for GET (RFC 9111 §4.3.5)."""
        held = fill.held
        if held is not None and held.stored is not None:
            policy = self._policy()
            news = apply_head(held.stored, supply.head, supply.request_at, supply.response_at, policy, fill.request)
            self._shelf.restate(held, fill.told.settle(fill.request.key, news, supply.source, self._clock.wall()))


def publish(fill: Fill, supply: Supply, entry: Entry, *, is_private: bool = False) -> None:
    fill.publish(
        Outcome(
            entry,
            is_private=is_private,
            is_stale=supply.is_stale,
            source=supply.source,
            status=supply.status,
            detail=supply.detail,
            member=supply.member,
        )
    )
    fill.look_whether_wanted()  # who waited may have left before there was a head


def is_of(supply: Supply, entry: Entry) -> bool:
    """Whether the bytes that a supplier sends belong to this entry's body (RFC 9111 §3.4)."""
    return is_same_variant(entry.stored, supply.stored) and entry.body.length == supply.length and may_combine(entry.head, supply.head)


def is_about_another(fill: Fill, supply: Supply) -> bool:
    """A 304 whose validator is not that of what we hold (RFC 9111 §4.3.4), where what we hold may not be served stale either."""
    stored = fill.held.stored if fill.held is not None else None
    return supply.source == "upstream" and stored is not None and not stored.may_serve_stale and not fits(stored, supply.head)
