"""A body in pieces on disk, through any order of bytes that can be trusted and bytes that can't, restarts, kills and damage.

Held at every step: what is given to a reader is the truth. A close loses no whole piece; a kill none that was recorded.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from minicdn.core import pieces
from minicdn.errors import BrokenBody
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf
from tests.property.test_shelf_model import ThreadlessLoop
from tests.unit.store.making import files_in, make_shelf, make_stored, recorded

PIECE = 1024
TRUTH = random.Random(11).randbytes(4 * PIECE + 100)
LENGTH, COUNT = len(TRUTH), 5
DIGESTS = [sha256(TRUTH[start : start + PIECE]).digest() for start in range(0, LENGTH, PIECE)]
positions = st.integers(0, LENGTH - 1)
sizes = st.one_of(st.integers(1, 3 * PIECE), st.sampled_from((PIECE, 2 * PIECE, LENGTH)))
indexes = st.integers(0, COUNT - 1)


class PiecesModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.piece_bytes_min, pieces.PIECE_BYTES_MIN = pieces.PIECE_BYTES_MIN, PIECE
        self.folders = [Path(tempfile.mkdtemp(prefix="minicdn-model-"))]
        self.loop = ThreadlessLoop()
        self.is_damaged = False
        self.recorded: set[int] = set()
        self.open()

    def run(self, work):
        async def bounded():
            async with asyncio.timeout(20):
                return await work

        return self.loop.run_until_complete(bounded())

    def open(self) -> None:
        self.shelf: Shelf = make_shelf(self.folders[-1], small=100)
        self.run(self.shelf.open())

    @property
    def entry(self) -> Entry | None:
        return next(iter(self.shelf.find("/x")), None)

    def whole_pieces(self) -> set[int]:
        body = self.entry.body if self.entry else None
        return {index for index in range(COUNT) if body is not None and body.have.covers(*body.pieces.span(index))}

    def act(self, act) -> None:
        """On the body, inside a fill of all of it."""

        async def acted() -> None:
            entry = self.entry
            if entry is None:
                stored = make_stored()
                entry = Entry("/x", stored.head, stored, self.shelf.new_body("/x", LENGTH))
                assert self.shelf.begin_partial(entry)
            body = entry.body
            was_whole = body.is_whole
            if not was_whole:
                body.expect(0, LENGTH)
            act(body)
            if not was_whole:
                if body.have.covers(0, LENGTH):
                    body.finish()
                    self.shelf.completed(entry)
                body.ended(0, LENGTH)

        self.run(acted())
        if self.is_damaged:
            self.recorded &= self.whole_pieces()  # what is written over what the disk has changed shows that
        assert all(self.entry.body.digest_of(index) in (None, digest) for index, digest in enumerate(DIGESTS))

    @rule(start=positions, size=sizes)
    def write(self, start, size) -> None:
        self.act(lambda body: body.write(start, TRUTH[start : start + size]))

    @rule(index=indexes)
    def write_piece(self, index) -> None:
        start = index * PIECE
        self.act(lambda body: body.write(start, TRUTH[start : start + PIECE]))

    @rule(start=positions, size=sizes, is_true=st.booleans())
    def offer(self, start, size, is_true) -> None:
        data = TRUTH[start : start + size]
        self.act(lambda body: body.write_unverified(start, data if is_true else bytes(len(data))))

    @rule(index=indexes)
    def offer_piece(self, index) -> None:
        start = index * PIECE
        self.act(lambda body: body.write_unverified(start, TRUTH[start : start + PIECE]))

    @rule(index=indexes, is_true=st.booleans())
    def accept(self, index, is_true) -> None:
        before = self.whole_pieces()
        self.act(lambda body: body.accept(index, DIGESTS[index] if is_true else bytes(32)))
        assert before <= self.whole_pieces() <= before | ({index} if is_true else set())

    @rule(index=indexes)
    def forget(self, index) -> None:
        self.act(lambda body: body.forget_unverified(index))

    @rule(index=indexes)
    def reject(self, index) -> None:
        self.act(lambda body: body.reject(index))
        self.recorded.discard(index)

    @rule(start=positions, size=sizes)
    def read(self, start, size) -> None:
        entry = self.entry
        if entry is None:
            return
        data = self.run(self.read_some(entry, start, min(start + size, LENGTH)))
        assert data == TRUTH[start : start + len(data)]
        if len(data) < min(size, LENGTH - start):
            assert entry.body.is_partial and not entry.body.have.covers(start, min(start + size, LENGTH))
        self.recorded &= self.whole_pieces()
        assert self.is_damaged or not self.shelf._counters.get("damaged_pieces_count")

    async def read_some(self, entry: Entry, start: int, end: int) -> bytes:
        reader, collected = entry.body.open(start, end), b""
        try:
            while chunk := await reader.next():
                collected += chunk
        except BrokenBody:
            pass
        finally:
            reader.close()
        return collected

    @rule()
    def record(self) -> None:
        async def record() -> None:
            self.shelf._disk._growing.record_all()
            await recorded(self.shelf)

        self.run(record())
        self.recorded = self.whole_pieces()

    @rule()
    def close_and_open(self) -> None:
        kept = self.whole_pieces()
        self.run(self.shelf.close())
        self.open()
        assert self.whole_pieces() == kept
        self.recorded = kept

    @rule()
    def kill(self) -> None:
        copy = Path(tempfile.mkdtemp(prefix="minicdn-model-"))
        shutil.copytree(self.folders[-1], copy, dirs_exist_ok=True)
        had, shelf = self.whole_pieces(), self.shelf
        self.folders.append(copy)
        self.open()
        assert self.recorded <= self.whole_pieces()
        assert self.whole_pieces() <= had or not had
        self.run(shelf.close())

    @precondition(lambda self: self.entry is not None)
    @rule(which=st.randoms(use_true_random=False))
    def damage_while_down(self, which) -> None:
        self.close_and_open()
        for path in files_in(self.folders[-1], ".body"):
            held = bytearray(path.read_bytes())
            if held:
                held[which.randrange(len(held))] ^= 1 << which.randrange(8)
                path.write_bytes(held)
                self.is_damaged = True

    def teardown(self) -> None:
        pieces.PIECE_BYTES_MIN = self.piece_bytes_min
        self.run(self.shelf.close())
        self.loop.close()
        for folder in self.folders:
            shutil.rmtree(folder)


TestPiecesModel = PiecesModel.TestCase
TestPiecesModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
