"""A preheat: files that are to be in the cluster before anybody asks for them, and what has become of each.

    order      which targets, and in how many copies: 1 (the file's owner), a number, a share of the nodes, or all
    load       one target at one node: waiting → loading → done or failed
    row        the loads of one node

A node that goes while it has loads leaves them to the next in each file's own order, so that there are as many copies in the end; where all
nodes were to have one, nobody is next.

To rank 500 nodes for 10,000 files takes many seconds, so both are dealt in slices (deal()), between which others have their turn.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from minicdn.core.message import Fields
from minicdn.core.objects import parse_object
from minicdn.core.purging import parse_path
from minicdn.core.roster import Member, owners
from minicdn.core.target import parse_target
from minicdn.core.value import value_class
from minicdn.errors import ClientError

URLS_MAX = 10_000
LOADS_MAX = 200_000
"""Targets times copies, in one preheat."""
FIELDS_MAX, FIELD_BYTES_MAX = 16, 1024
PAIRS_PER_SLICE = 2000
"""Files times nodes that are ranked in one go: some milliseconds."""
FAILURES_MAX = 1000
"""So many are told with their reasons; all are counted."""
REASON_CHARACTERS_MAX = 300
MEMBERS = ("urls", "copies", "headers")
REFUSED_FIELDS = ("range", "host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer", "keep-alive")
"""Besides all that begin with `if-`: what is asked for is the whole, whatever is there already."""
_COUNT = re.compile(r"([1-9][0-9]{0,5})(%?)")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")


@value_class
class Copies:
    """How many nodes are to have a file: `count`, or a share of them in `percent`, where that is not 0."""

    count: int = 1
    percent: int = 0

    @classmethod
    def parse(cls, text: str) -> Copies:
        """`1`, `20%` or `all`. Raises ValueError."""
        if text.strip().lower() == "all":
            return cls(0, 100)
        match = _COUNT.fullmatch(text.strip())
        if match is None or (match[2] and int(match[1]) > 100):
            raise ValueError(f"{text[:50]!r} is no number of copies: 1, 20% or all")
        return cls(0, int(match[1])) if match[2] else cls(int(match[1]))

    def of(self, nodes_count: int) -> int:
        """At least one, and no more than there are nodes."""
        return min(nodes_count, max(1, math.ceil(nodes_count * self.percent / 100)) if self.percent else self.count)

    def __str__(self) -> str:
        return "all" if self.percent == 100 else f"{self.percent}%" if self.percent else str(self.count)


@value_class
class Order:
    """targets: as the upstream is asked for them, ignored query parameters included. fields: of each request, names in lower case."""

    targets: tuple[str, ...]
    copies: Copies = Copies()
    fields: Fields = ()


def parse_order(data: bytes, origins: Set[str], upstream: str = "") -> Order:
    """The body of `POST /_preheat`. origins, upstream: whose full URLs count as ours (target.key_of_url). ClientError(400) says what is
    wrong."""
    found = parse_object(data, MEMBERS, '{"urls": ["/big.iso"]}')
    urls, copies = found.get("urls"), found.get("copies", 1)
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise ClientError(400, "urls is not a list of one string or more")
    if len(urls) > URLS_MAX:
        raise ClientError(400, f"urls has {len(urls)} items; at most {URLS_MAX} go into one preheat")
    if isinstance(copies, bool) or not isinstance(copies, (int, str)):
        raise ClientError(400, "copies is neither a number nor a text such as 20% or all")
    try:
        wanted = Copies.parse(str(copies))
    except ValueError as error:
        raise ClientError(400, f"copies: {error}") from None
    targets = dict.fromkeys(parse_path(url, origins, upstream) for url in urls)
    if own := next((target for target in targets if target.startswith("/_")), None):
        raise ClientError(400, f"{own[:200]!r}: paths that begin with /_ belong to minicdn itself")
    return Order(tuple(targets), wanted, _parse_fields(found.get("headers", {})))


def _parse_fields(found: Any) -> Fields:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ClientError(400, 'headers is not an object such as {"Accept-Encoding": "gzip"}')
    try:
        return check_fields([(name.encode(), value.encode()) for name, value in found.items()])
    except UnicodeEncodeError:
        raise ClientError(400, "headers has what is no text") from None


def check_fields(pairs: Sequence[tuple[bytes, bytes]]) -> Fields:
    """The fields as requests carry them. Raises ClientError(400)."""
    if len(pairs) > FIELDS_MAX:
        raise ClientError(400, f"headers has more than {FIELDS_MAX} fields")
    fields = []
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip(" \t")
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or len(value) > FIELD_BYTES_MAX:
            raise ClientError(400, f"headers: {name[:64]!r} is no field of a request, or its value is none")
        if name.lower() in REFUSED_FIELDS or name.lower().startswith("if-"):
            raise ClientError(400, f"headers: {name} has no place in a preheat, which asks for the whole file")
        fields.append((name.lower().encode(), value.encode()))
    return tuple(fields)


@dataclass(slots=True)
class Row:
    """One node's loads. loading: (bytes there, length or None) of each under way. bytes: of those that are done. gone_reason: why the node
    is given up; empty while it is not."""

    waiting: deque[int] = field(default_factory=deque)
    loading: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    done_count: int = 0
    failed_count: int = 0
    bytes: int = 0
    gone_reason: str = ""

    @property
    def is_over(self) -> bool:
        return not self.waiting and not self.loading


class Preheat:
    """`began_at`: wall seconds. A target is named by its place in the order."""

    def __init__(self, id: str, order: Order, members: Sequence[Member], ignored_query: Set[str], began_at: float) -> None:
        """Raises ClientError(400) for more loads than LOADS_MAX. Nothing is dealt yet."""
        self.id, self.order, self.began_at = id, order, began_at
        self.ended_at: float | None = None
        self.is_cancelled = False
        self.rows: dict[str, Row] = {}
        self.failures: list[tuple[str, str, str]] = []
        """(target, node, reason), the first FAILURES_MAX."""
        self._urls_count = len(order.targets)
        self._ignored_query = ignored_query
        self._members = tuple(members)
        self._count = order.copies.of(len(members))
        self._dealt_count = 0
        self._holders: list[list[str]] = []
        """Of each target that is dealt."""
        self._loading: dict[int, str] = {}
        """Targets that were under way when it was cancelled."""
        self._orphans: deque[tuple[int, str]] = deque()
        """(target, node): what nodes that are gone have left, until another has it."""
        if self._count * len(order.targets) > LOADS_MAX:
            reason = f"{len(order.targets)} files in {self._count} copies each are more than {LOADS_MAX} loads: make it several"
            raise ClientError(400, reason)

    def deal(self, members: Sequence[Member], pairs_max: int = PAIRS_PER_SLICE) -> set[str]:
        """Some of what is to be dealt: the order among those who were there when it was given, what the gone have left among `members`.
        Returns the URLs of those who have more to do now."""
        busier: set[str] = set()
        for _ in range(max(1, pairs_max // max(len(members), len(self._members), 1))):
            if not self.has_to_deal:
                break
            busier.update(self._pass_on(*self._orphans.popleft(), members) if self._orphans else self._deal_next())
        return busier

    def _deal_next(self) -> list[str]:
        index, self._dealt_count = self._dealt_count, self._dealt_count + 1
        chosen = [member.url for member in self._ranked(index, self._members, self._count)]
        self._holders.append(chosen)
        for url in list(chosen):
            row = self.rows.setdefault(url, Row())
            row.waiting.append(index)
            if row.gone_reason:
                self._leave(url)
        return chosen

    def _pass_on(self, index: int, url: str, members: Sequence[Member]) -> list[str]:
        held = self._holders[index]
        ranked = self._ranked(index, members)
        heir = next((member.url for member in ranked if member.url not in held and not self._is_gone(member.url)), None)
        if heir is None:
            self._fail(index, url, self.rows[url].gone_reason or "nobody else could have it")
            return []
        held.append(heir)
        self.rows.setdefault(heir, Row()).waiting.append(index)
        return [heir]

    def _ranked(self, index: int, members: Sequence[Member], count: int | None = None) -> list[Member]:
        """Who can own the file, nearest first; and behind them those who own nothing."""
        key = parse_target(self.order.targets[index].encode("ascii"), self._ignored_query)
        owning = owners(key, members, count)
        if len(owning) == (len(members) if count is None else count):
            return owning
        return [*owning, *(member for member in members if member.weight <= 0)][:count]

    @property
    def has_to_deal(self) -> bool:
        return not self.is_cancelled and (bool(self._orphans) or self._dealt_count < self._urls_count)

    @property
    def _undealt_count(self) -> int:
        return len(self._orphans) + (self._urls_count - self._dealt_count) * self._count

    @property
    def is_over(self) -> bool:
        return self.is_cancelled or (not self.has_to_deal and all(row.is_over for row in self.rows.values()))

    @property
    def state(self) -> str:
        if self.is_cancelled:
            return "cancelled"
        if not self.is_over:
            return "running"
        return "failed" if any(row.failed_count for row in self.rows.values()) else "done"

    def take(self, url: str) -> int | None:
        """The node's next load, which is under way from now on; None: it has no other."""
        row = self.rows[url]
        if not row.waiting or self.is_cancelled:
            return None
        index = row.waiting.popleft()
        row.loading[index] = (0, None)
        return index

    def tell(self, url: str, index: int, have_bytes: int, length: int | None) -> None:
        """How far a load is."""
        if index in self.rows[url].loading:
            self.rows[url].loading[index] = (have_bytes, length)

    def settle(self, url: str, index: int, bytes_count: int, reason: str | None) -> None:
        """A load has ended. reason: why it failed."""
        row = self.rows[url]
        if row.loading.pop(index, None) is None:
            return
        if reason is not None:
            self._fail(index, url, reason)
        else:
            row.done_count += 1
            row.bytes += bytes_count

    def give_up(self, url: str, reason: str) -> None:
        """The node is gone: its loads go to others when they are dealt."""
        self.rows[url].gone_reason = reason
        self._leave(url)

    def _leave(self, url: str) -> None:
        row = self.rows[url]
        indexes = [*row.loading, *row.waiting]
        row.loading.clear()
        row.waiting.clear()
        for index in indexes:
            if self.order.copies.percent == 100:
                self._fail(index, url, row.gone_reason)
            else:
                self._holders[index].remove(url)
                self._orphans.append((index, url))

    def is_back(self, url: str) -> None:
        """A node that was gone may have again what others leave."""
        self.rows[url].gone_reason = ""

    def _is_gone(self, url: str) -> bool:
        row = self.rows.get(url)
        return row is not None and bool(row.gone_reason)

    def _fail(self, index: int, url: str, reason: str) -> None:
        self.rows[url].failed_count += 1
        if len(self.failures) < FAILURES_MAX:
            self.failures.append((self.order.targets[index], url, reason[:REASON_CHARACTERS_MAX]))

    def cancel(self) -> None:
        """What is under way, or waits, is not counted any more."""
        self.is_cancelled = not self.is_over or self.is_cancelled

    def end(self, now: float) -> None:
        """It is over. Of a long list, what nobody asks for any more is let go of: many orders are remembered."""
        if self.ended_at is None and self.is_over:
            self.ended_at = now
            targets = self.order.targets
            self._loading = {index: targets[index] for row in self.rows.values() for index in row.loading}
            self.order, self._holders, self._members = replace(self.order, targets=()), [], ()

    def as_json(self, now: float, *, is_brief: bool = False, shown: Callable[[str], str] = str) -> dict[str, Any]:
        """What `/_preheat` shows. is_brief: without nodes and failures. shown: how a target is written."""
        rows = self.rows.values()
        found: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "copies": str(self.order.copies),
            "urls_count": self._urls_count,
            "waiting_count": self._undealt_count + sum(len(row.waiting) for row in rows),
            "loading_count": sum(len(row.loading) for row in rows),
            "done_count": sum(row.done_count for row in rows),
            "failed_count": sum(row.failed_count for row in rows),
            "bytes": sum(row.bytes + sum(have for have, _ in row.loading.values()) for row in rows),
            "began_at": round(self.began_at, 3),
            "seconds": round((self.ended_at if self.ended_at is not None else now) - self.began_at, 3),
        }
        if is_brief:
            return found
        targets = self._loading or self.order.targets
        found["nodes"] = [
            {
                "url": url,
                "state": "gone" if row.gone_reason else "done" if row.is_over else "cancelled" if self.is_cancelled else "loading",
                "waiting_count": len(row.waiting),
                "done_count": row.done_count,
                "failed_count": row.failed_count,
                "bytes": row.bytes,
                "loading": [{"url": shown(targets[i]), "bytes": have, "length": length} for i, (have, length) in row.loading.items()],
            }
            for url, row in sorted(self.rows.items())
        ]
        found["failures"] = [{"url": shown(target), "node": url, "reason": reason} for target, url, reason in self.failures]
        return found
