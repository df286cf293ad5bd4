"""A swarm: one large body, filled with pieces from many at once. The picker (core/picker.py) says what to ask of whom; this carries it
out.

Bytes from a piece's owner are readable as they come, here and by those to whom this node passes them on, and are checked against the
owner's digest at the end of the piece. Bytes from another holder are kept apart until their digest is the one that the piece's owner
names: nobody reads, or is given, what nobody vouches for.

A swarm works while somebody reads what it fetches, or little is left; what it has stays, as a partial body, and the next request goes
on from there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

from minicdn.core.counters import Counters
from minicdn.core.message import Request
from minicdn.core.picker import Errand, Picker
from minicdn.core.pieces import deal as deal_pieces
from minicdn.errors import BrokenBody, DiskError, MinicdnError, PeerError, UpstreamError
from minicdn.node.clock import Clock
from minicdn.node.fill import LITTLE_LEFT_BYTES
from minicdn.node.limits import Limits
from minicdn.node.seeding import Changed, NoRoom, Seed
from minicdn.node.suppliers import Deal, forwarded_fields, full_key
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf
from minicdn.wire.peers import PeerClient
from minicdn.wire.pieces import PieceAnswer, PieceRequest, PieceStream

TICK_SECONDS = 0.25
UPSTREAM_FAILURES_MAX = 3
"""Word of so many that the upstream can't be asked, and it is believed."""
DIGEST_SECONDS = 10.0


class SwarmParts:
    """What all swarms of a node work with. may_use_upstream: leave to ask the upstream as the last resort (a lease)."""

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
        via: Callable[[list[tuple[bytes, bytes]]], list[tuple[bytes, bytes]]] = lambda fields: fields,
        on_lie: Callable[[str, str, int], None] = lambda url, key, index: None,
        on_changed: Callable[[str], None] = lambda key: None,
    ) -> None:
        self.shelf, self.client, self.clock, self.counters, self.rng = shelf, client, clock, counters, rng
        self.may_use_upstream = may_use_upstream
        self.limits = limits
        self.via = via
        self.on_lie = on_lie
        self.on_changed = on_changed


class Swarm:
    """me: this node's URL, None where it has none that others can use. on_over: called when it has stopped working."""

    def __init__(self, parts: SwarmParts, entry: Entry, request: Request, deal: Deal, seed: Seed, me: str | None) -> None:
        self.entry = entry
        self.deal = deal
        self.seed = seed
        self._parts = parts
        self._request = request
        self._me = me
        self._pieces = seed.pieces
        owned = deal_pieces(request.key, self._pieces.count, deal.dealers)
        self._owners = owned
        self.picker = Picker(request.key, self._pieces, deal.dealers, owned, me)
        self._expected: list[tuple[int, int]] = []
        self._errands: dict[asyncio.Task[None], Errand] = {}
        self._task: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self._upstream_failures_count = 0
        self._error: MinicdnError | None = None
        self._digests: dict[int, bytes] = {}
        self.given_by: dict[str, int] = {}
        """How many pieces each peer has sent."""

    @property
    def is_working(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def _body(self) -> Body:
        return self.entry.body

    def want(self, spans: Iterable[tuple[int, int]]) -> None:
        """Somebody wants to read these; he opens his reader before anything else happens."""
        now = self._parts.clock.monotonic()
        for start, end in spans:
            for gap in self._body.missing(start, end):
                self._body.expect(*gap)
                self._expected.append(gap)
                wanted = self._pieces.touching(*gap)
                for index in wanted:
                    if self.seed.has(self.entry, index):
                        self.picker.have(index)
                self.picker.want(wanted, now)
        if not self.is_working and self._expected:
            self._error = None
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"swarm {self._request.key}")
        self._again.set()

    def look_whether_wanted(self) -> None:
        """Somebody stopped reading."""
        body = self._body
        if not self.is_working or body.reader_count:
            return
        done = body.have.total_bytes
        left = sum(end - start for span in self._expected for start, end in body.have.gaps(*span))
        if left > max(LITTLE_LEFT_BYTES, done):
            assert self._task is not None
            self._task.cancel()

    def peers_gone(self, urls: set[str]) -> None:
        for task, errand in list(self._errands.items()):
            if errand.url in urls:
                task.cancel()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # The work

    async def _run(self) -> None:
        try:
            await self._work()
        except asyncio.CancelledError:
            self._parts.counters.add("fills_abandoned_count")
        finally:
            self._end()

    async def _work(self) -> None:
        clock, rng, picker = self._parts.clock, self._parts.rng, self.picker
        tick_at = 0.0
        while not picker.is_done and self._error is None:
            now = clock.monotonic()
            self._again.clear()
            if now >= tick_at:
                tick_at = now + TICK_SECONDS
                errands = picker.tick(now, rng)
            else:
                errands = picker.errands(now, rng)
            for errand in errands:
                task = asyncio.get_running_loop().create_task(self._go(errand))
                self._errands[task] = errand
                task.add_done_callback(self._errand_over)
            if not picker.is_done:
                await self._wait(tick_at - now)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._again.wait()
        except TimeoutError:
            pass

    def _errand_over(self, task: asyncio.Task[None]) -> None:
        errand = self._errands.pop(task, None)
        if errand is None:
            return
        if task.cancelled():
            self.picker.failed(errand.url, [], self._parts.clock.monotonic())
        elif (error := task.exception()) is not None:
            self._error = error if isinstance(error, MinicdnError) else UpstreamError(f"internal error: {type(error).__name__}: {error}")
        left = [index for index in errand.indices if not self.picker.is_held(index)]
        self.picker.gave_up(left, errand.url, self._parts.clock.monotonic())
        self._again.set()

    def _end(self) -> None:
        """Whoever still waits for what did not come learns so."""
        errands, self._errands = list(self._errands), {}
        for task in errands:
            task.cancel()
        body = self._body
        if isinstance(self._error, Changed):
            self._parts.shelf.remove(self.entry)
            self._parts.on_changed(self._request.key)  # the owner may hold it for fresh, and would deal it again
        if body.is_partial and body.have.covers(0, body.length or 0):
            body.finish()
            self._parts.shelf.completed(self.entry)
        expected, self._expected = self._expected, []
        self._forget_wants()
        for span in expected:
            body.ended(*span)

    def _forget_wants(self) -> None:
        """The next who wants something begins with a picker that knows what this one learned of the others."""
        sources = self.picker.sources
        self.picker = Picker(self._request.key, self._pieces, self.deal.dealers, self._owners, self._me)
        self.picker.sources = sources
        for url in list(sources.urls()):
            source = sources.get(url)
            source.flights_count = 0
            source.drain()

    async def _go(self, errand: Errand) -> None:
        if errand.url is None or errand.url == self._me:
            await self._load(errand)
            return
        try:
            await self._ask(errand.url, errand)
        except PeerError:
            self._parts.counters.add("peer_errors_count")
            self._failed(errand)

    def _failed(self, errand: Errand) -> None:
        left = [index for index in errand.indices if not self.picker.is_held(index)]
        self.picker.failed(errand.url, left, self._parts.clock.monotonic())

    async def _load(self, errand: Errand) -> None:
        """Pieces of this node's own; or of anybody's, as the last resort, with leave."""
        if errand.url is None and not await self._parts.may_use_upstream(self._request.key):
            self._failed(errand)
            return
        hint = self.deal.hint if errand.url is not None and self.deal.hint != self._me else None
        try:
            async with asyncio.TaskGroup() as group:
                for index in errand.indices:
                    group.create_task(self._load_one(index, errand.url, hint))
        except* NoRoom:
            self._failed(errand)
        except* (UpstreamError, BrokenBody) as errors:
            self._upstream_failed(str(errors.exceptions[0]), errand)
        except* Changed as errors:
            self._error = Changed(str(errors.exceptions[0]))

    async def _load_one(self, index: int, url: str | None, hint: str | None) -> None:
        await self.seed.load_whole(index, hint)
        start, end = self._pieces.span(index)
        self.picker.received(index, url, end - start, self._parts.clock.monotonic())
        self._again.set()

    def _upstream_failed(self, reason: str, errand: Errand) -> None:
        self._upstream_failures_count += 1
        if self._upstream_failures_count >= UPSTREAM_FAILURES_MAX:
            self._error = UpstreamError(reason)
        self._failed(errand)

    async def _ask(self, url: str, errand: Errand) -> None:
        parts = self._parts
        parts.counters.add("peer_requests_count")
        stream = await parts.client.ask_pieces(url, self._question(errand.indices, is_owners=errand.is_owners, to=url))
        try:
            self._heed(url, errand, stream.answer)
            if stream.answer.kind == "pieces" and stream.answer.given:
                await self._take(url, errand, stream)
        finally:
            await stream.close()

    def _question(self, indices: Iterable[int], *, is_owners: bool, to: str, is_digests: bool = False) -> PieceRequest:
        request, file = self._request, self.seed.file
        full = full_key(request)
        return PieceRequest(
            key=request.key,
            fields=self._parts.via(forwarded_fields(request.fields)),
            validator=file.validator,
            length=file.length,
            size=self._pieces.size,
            wanted=tuple(indices),
            is_owners=is_owners,
            asker=self._me or "",
            target=None if full == request.key else full,
            hint=self.deal.hint if is_owners and self.deal.hint != to else None,
            is_digests=is_digests,
        )

    def _heed(self, url: str, errand: Errand, answer: PieceAnswer) -> None:
        """All of an answer but its bytes."""
        now, picker = self._parts.clock.monotonic(), self.picker
        match answer.kind:
            case "changed":
                raise Changed(f"{url} says that the file is another one by now")
            case "failed":
                self._upstream_failed(answer.detail, errand)
                return
            case "refused":
                raise PeerError(f"{url} refused: {answer.detail}")
        picker.knows(url, answer.have_mask)
        for referral in answer.referrals:
            if referral.digest is not None and errand.is_owners:
                self._digests[referral.index] = referral.digest
            retry_seconds = 0.0 if referral.is_absent else max(answer.retry_after_seconds, 0.05)
            picker.refused(referral.index, url, referral.holders, retry_seconds, now, self._parts.rng)
            self._parts.counters.add("referrals_count")

    async def _take(self, url: str, errand: Errand, stream: PieceStream) -> None:
        picker, parts = self.picker, self._parts
        is_believed = errand.is_owners and not picker.sources.get(url).lies_count
        arriving = self.seed.arriving if is_believed else set()
        write = self._write if is_believed else self._body.write_unverified
        given = set(stream.answer.given)
        try:
            async for index, position, data in stream.parts():
                if position < 0:
                    given.discard(index)
                    arriving.discard(index)
                    await self._landed(url, index, data, is_owners=errand.is_owners)
                    continue
                if picker.is_held(index):
                    if all(picker.is_held(one) for one in given):
                        return  # another source was quicker with all that is left
                    continue
                arriving.add(index)
                parts.counters.add("peer_received_bytes", len(data))
                for part in parts.limits.down_parts(data):
                    await parts.limits.wait_down(len(part))
                is_last = position + len(data) == self._pieces.span(index)[1]
                (self._body.write_unverified if is_last else write)(position, data)
                picker.moved(index, url, parts.clock.monotonic())
        except DiskError as error:
            parts.counters.add("disk_errors_count")
            raise BrokenBody(str(error)) from error
        finally:
            arriving.difference_update(given)

    def _write(self, position: int, data: bytes) -> None:
        self._body.write(position, data)

    async def _landed(self, url: str, index: int, digest: bytes, *, is_owners: bool) -> None:
        """The last byte of a piece from a peer is here, and what it says the digest is."""
        picker, body = self.picker, self._body
        if picker.is_held(index):
            body.forget_unverified(index)
            return
        if is_owners:
            is_right = body.accept(index, digest)
            if not is_right:
                body.reject(index)
        else:
            vouched = await self._vouched(url, index)
            if vouched is None:
                body.forget_unverified(index)
                picker.distrust(index, url, self._parts.clock.monotonic())
                self._again.set()
                return
            is_right = body.accept(index, vouched)
        now = self._parts.clock.monotonic()
        if is_right:
            start, end = self._pieces.span(index)
            picker.received(index, url, end - start, now)
            self.given_by[url] = self.given_by.get(url, 0) + 1
        else:
            self._parts.counters.add("wrong_pieces_count")
            picker.lied(url, index, now)
            self._parts.on_lie(url, self._request.key, index)
        self._again.set()

    async def _vouched(self, url: str, index: int) -> bytes | None:
        """The digest of a piece that somebody else than its owner sent, from its owner, or from one who has it from there."""
        known = self._digests.get(index)
        if known is not None:
            return known
        owner = self.deal.dealers[self._owners[index]].url if self._owners else None
        sources = self.picker.sources
        others = [one for one in sources.urls() if one not in (None, url, owner, self._me) and sources.get(one).have_mask >> index & 1]
        for witness in [owner, *others[:2]]:
            if witness is None or witness in (url, self._me):
                continue
            try:
                async with asyncio.timeout(DIGEST_SECONDS):
                    stream = await self._parts.client.ask_pieces(
                        witness, self._question([index], is_owners=witness == owner, to=witness, is_digests=True)
                    )
            except (PeerError, TimeoutError):
                self.picker.failed(witness, (), self._parts.clock.monotonic())
                continue
            await stream.close()
            for _, digest in stream.answer.digests:
                self._digests[index] = digest
                return digest
        return None
