"""A swarm: one large body, filled with pieces from many at once. The picker (core/picker.py) says what to ask of whom, this does it.

Bytes from a piece's owner are readable as they come, here and by those to whom this node passes them on, and are checked against the
owner's digest at the end of the piece. Bytes from another holder are kept apart until their digest is the one that the piece's owner
names: nobody reads, or is given, what nobody vouches for.

A swarm works while somebody reads what it fetches, or little is left; what it has stays, as a partial body, and the next request goes
on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from minicdn.core.inorder import picker_for
from minicdn.core.message import Request
from minicdn.core.picker import Errand, Picker
from minicdn.core.pieces import share_of
from minicdn.core.uplink import is_thin
from minicdn.errors import BodyGone, BrokenBody, CopyLost, DiskError, MinicdnError, PeerError, UpstreamError
from minicdn.node.deals import Deal
from minicdn.node.doubts import VAIN_SECONDS, Doubts
from minicdn.node.fill import LITTLE_LEFT_BYTES
from minicdn.node.reading import copy
from minicdn.node.seeding import Changed, NoRoom, Seed
from minicdn.node.suppliers import forwarded_fields, full_key
from minicdn.node.swarmparts import SwarmParts
from minicdn.node.vouching import Voucher
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.wire.pieces import PieceAnswer, PieceRequest, PieceStream

TICK_SECONDS, WAIT_SECONDS_MIN = 0.25, 0.005


class Swarm:
    """me: this node's URL, None where it has none that others can use."""

    def __init__(self, parts: SwarmParts, entry: Entry, request: Request, deal: Deal, seed: Seed, me: str | None) -> None:
        self.entry = entry
        self.deal = deal
        self.seed = seed
        self._parts = parts
        self._request = request
        self._me = me
        self._pieces = seed.pieces
        self._owners = deal.owners(request.key, self._pieces.count)
        self.picker = self._new_picker()
        self._expected: list[tuple[int, int]] = []
        self._errands: dict[asyncio.Task[None], Errand] = {}
        self._task: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self._error: MinicdnError | None = None
        self._doubts = Doubts()
        self._has_lease = False
        self._moved_at, self._began = 0.0, (0.0, 0)
        self._voucher = Voucher(parts.client, parts.clock, me, self._owner_of, self._digest_question)
        self.given_by: dict[str, int] = {}
        """How many pieces each peer has sent."""

    def _new_picker(self) -> Picker:
        return picker_for(self.deal.hint, self._request.key, self._pieces, self.deal.dealers, self._owners, self._me)

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
                    self._doubts.forget(index)
                    if self.seed.has(self.entry, index):
                        self.picker.have(index)
                    else:
                        self.picker.lose(index, now)
                self.picker.want(wanted, now)
        if not self.is_working and self._expected:
            self._error, self._moved_at, self._began = None, now, (now, self._body.have.total_bytes)
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
                if now - self._moved_at > VAIN_SECONDS and not picker.flights_count:
                    self._error = PeerError("nobody is left who has the rest, or may fetch it")
                    return
                self._look_around(now)
                errands = picker.tick(now, rng)
            else:
                errands = picker.errands(now, rng)
            for errand in errands:
                task = asyncio.get_running_loop().create_task(self._go(errand))
                self._errands[task] = errand
                task.add_done_callback(self._errand_over)
            if not picker.is_done:
                await self._wait(min(tick_at, picker.next_at() or tick_at) - now)

    def _look_around(self, now: float) -> None:
        """How thin this node's own uplink is; and where the whole comes in one stream, others' pieces come with it."""
        began_at, had_bytes = self._began
        owed_bytes = (self._body.have.total_bytes - had_bytes) * share_of(self._me, self.deal.dealers)
        self.picker.sources.is_thin = self.seed.is_thin = is_thin(self._parts.uplink.best(now), owed_bytes, now - began_at)
        if self.seed.is_partless:
            for index in self._pieces.within(0, self._body.have.reach(0)):
                self.picker.have(index)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, WAIT_SECONDS_MIN)):
                await self._again.wait()

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
        if self._has_lease:
            self._has_lease = False
            self._parts.release(self._request.key)
        body = self._body
        if isinstance(self._error, Changed):
            self._parts.shelf.remove(self.entry)
            self._parts.on_changed(self._request.key)  # the owner may hold it for fresh, and would deal it again
        expected, self._expected = self._expected, []
        try:
            if body.is_partial and body.have.covers(0, body.length or 0):
                body.finish()
                self._parts.shelf.completed(self.entry)
            self._forget_wants()
        finally:
            for span in expected:
                body.ended(*span)

    def _forget_wants(self) -> None:
        """The next who wants something begins with a picker that knows what this one learned of the others."""
        sources, self.picker = self.picker.sources, self._new_picker()
        self.picker.sources = sources

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
        self._has_lease = self._has_lease or errand.url is None
        hint = self.deal.hint if errand.url is not None and self.deal.hint != self._me else None
        try:
            async with asyncio.TaskGroup() as group:
                for index in errand.indices:
                    group.create_task(self._load_one(index, errand.url, hint))
        except* NoRoom as errors:  # this body is off the shelf, or there would be
            self._body.is_refused = True
            self._error = CopyLost(str(errors.exceptions[0]))
        except* (UpstreamError, BrokenBody):
            self._upstream_failed(errand)
        except* DiskError as errors:
            self._error = BrokenBody(str(errors.exceptions[0]))
        except* Changed as errors:
            self._error = Changed(str(errors.exceptions[0]))

    async def _load_one(self, index: int, url: str | None, hint: str | None) -> None:
        start, end = self._pieces.span(index)
        async with self.seed.load_whole(index, hint) as entry:
            if entry is not self.entry:
                await copy(entry.body, start, end, self._write)
        if self._doubts.settle(index) and not self._body.is_as_hashed(index):
            self._body.reject(index)  # what a peer had sent of it was wrong; who has read that is cut off
            raise BrokenBody("a piece of two makers does not fit")
        self._moved_at = self._parts.clock.monotonic()
        self.picker.received(index, url, end - start, self._moved_at)
        self._again.set()

    def _upstream_failed(self, errand: Errand) -> None:
        for index in errand.indices:
            if self._doubts.upstream_failed(index, errand.url) and not self.picker.is_held(index):
                self._give_up(index)
        self._failed(errand)

    def _give_up(self, index: int) -> None:
        """Nobody can get this piece. Who comes to it is cut off; the others may still arrive."""
        self.picker.unwant([index])
        start, end = self._pieces.span(index)
        for span in [span for span in self._expected if span[0] < end and start < span[1]]:
            self._expected.remove(span)
            for rest in ((span[0], start), (end, span[1])):
                if rest[0] < rest[1]:
                    self._body.expect(*rest)
                    self._expected.append(rest)
            self._body.ended(*span)

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
                said = f"{url} says that the file is another one by now"
                raise Changed(said) if self._doubts.is_changed(url) else PeerError(said)
            case "failed":
                self._upstream_failed(errand)
                return
            case "refused":
                raise PeerError(f"{url} refused: {answer.detail}")
        picker.knows(url, answer.have_mask, is_thin=answer.is_thin)
        for referral in answer.referrals:
            if referral.digest is not None and errand.is_owners:
                self._voucher.heard(referral.index, referral.digest)
            self._parts.counters.add("referrals_count")
            if self._doubts.refused(url):
                raise PeerError(f"{url} gives nothing")
            retry_seconds = 0.0 if referral.is_absent else max(answer.retry_after_seconds, 0.05)
            picker.refused(referral.index, url, referral.holders, retry_seconds, now, self._parts.rng)

    async def _take(self, url: str, errand: Errand, stream: PieceStream) -> None:
        picker, parts = self.picker, self._parts
        is_believed = errand.is_owners and not picker.sources.get(url).lies_count
        arriving = self.seed.relayed if is_believed else set()
        write = self._write if is_believed else self._body.write_unverified
        given = set(stream.answer.given)
        try:
            async for index, position, data in stream.parts():
                if position < 0:
                    given.discard(index)
                    arriving.discard(index)
                    await self._landed(url, index, data, is_owners=errand.is_owners)
                    continue
                parts.counters.add("peer_received_bytes", len(data))
                await parts.limits.wait_down(len(data))
                if picker.is_held(index):
                    if all(picker.is_held(one) for one in given):
                        return  # another source was quicker with all that is left
                    continue
                arriving.add(index)
                self._doubts.gave(index, url)
                is_last = position + len(data) == self._pieces.span(index)[1]
                (self._body.write_unverified if is_last else write)(position, data)
                self._moved_at = parts.clock.monotonic()
                picker.moved(index, url, self._moved_at)
        except DiskError as error:
            parts.counters.add("disk_errors_count", 0 if isinstance(error, BodyGone) else 1)
            raise BrokenBody(str(error)) from error
        finally:
            arriving.difference_update(given)
            for index in given:
                if not picker.is_held(index):
                    self._body.forget_unverified(index)

    def _write(self, position: int, data: bytes) -> None:
        """Never over what is there: that is hashed, and may have been read."""
        for start, end in list(self._body.have.gaps(position, position + len(data))):
            self._body.write(start, data[start - position : end - position])

    async def _landed(self, url: str, index: int, digest: bytes, *, is_owners: bool) -> None:
        """The last byte of a piece from a peer is here, and what it says the digest is."""
        picker, body = self.picker, self._body
        if picker.is_held(index):
            body.forget_unverified(index)
            return
        word = None if is_owners else await self._voucher.ask(url, index, picker)
        if is_owners or word is not None:
            is_right = body.accept(index, digest if word is None else word.digest)
        now = self._parts.clock.monotonic()
        if not is_owners and word is None:
            body.forget_unverified(index)
            picker.distrust(index, url, now)
        elif is_right:
            start, end = self._pieces.span(index)
            self._doubts.settle(index)
            picker.received(index, url, end - start, now)
            self.given_by[url] = self.given_by.get(url, 0) + 1
        elif word is not None and not word.is_owners:
            self._voucher.forget(index)
            picker.distrust(index, url, now)
        else:
            if is_owners:
                body.reject(index)
            self._wrong(url, index, now)
        self._again.set()

    def _wrong(self, url: str, index: int, now: float) -> None:
        """It is the sender's fault where all bytes are his. Else nobody knows whose: each begins anew, and alone."""
        self._parts.counters.add("wrong_pieces_count")
        if self._doubts.settle(index) <= {url}:
            self.picker.lied(url, index, now)
            self._parts.on_lie(url, self._request.key, index)
            return
        if self._body.have.reach(self._pieces.span(index)[0]) > self._pieces.span(index)[0]:
            self._body.reject(index)
        for task, errand in list(self._errands.items()):
            if index in errand.indices and errand.url != url:
                task.cancel()
        self.picker.failed(url, [index], now)

    def _owner_of(self, index: int) -> str | None:
        return self.deal.dealers[self._owners[index]].url if self._owners else None

    def _digest_question(self, index: int, witness: str, is_owners: bool) -> PieceRequest:
        return self._question([index], is_owners=is_owners, to=witness, is_digests=True)
