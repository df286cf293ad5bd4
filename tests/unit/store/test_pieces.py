"""The pieces of a body: their digests as they come, and bytes that nobody vouches for until their digest is known."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core.pieces import Pieces
from minicdn.errors import BrokenBody
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from minicdn.store.memory import MemoryStorage
from tests.unit.store.making import KIB, on_loop, random_bytes, read_all, turns

PIECE = 256 * KIB
DATA = random_bytes(3 * PIECE + 1000)
DIGESTS = [sha256(DATA[start : start + PIECE]).digest() for start in range(0, len(DATA), PIECE)]


@pytest.fixture
def body(tmp_path: Path) -> Body:
    return Body.partial(DiskStorage(tmp_path / "1.body"), len(DATA))


def write(body: Body, start: int, end: int) -> None:
    body.write(start, DATA[start:end])


def offer(body: Body, start: int, end: int, data: bytes = DATA) -> None:
    body.write_unverified(start, data[start:end])


def digests(body: Body) -> list[bytes | None]:
    return [body.digest_of(index) for index in range(4)]


def test_only_what_is_kept_on_disk_under_a_known_length_has_pieces(tmp_path: Path):
    assert Body(MemoryStorage(len(DATA)), len(DATA)).pieces is None
    assert Body(DiskStorage(tmp_path / "a"), None).pieces is None
    assert Body(DiskStorage(tmp_path / "a"), PIECE).pieces is None
    assert Body(None, len(DATA)).pieces is None
    body = Body(DiskStorage(tmp_path / "a"), len(DATA))
    assert body.pieces == Pieces(len(DATA), PIECE)
    body.relay_from_here()
    assert body.pieces is None


@pytest.mark.parametrize("step", [1000, 64 * KIB, 300 * KIB, len(DATA)])
def test_a_digest_is_there_with_the_last_byte_of_its_piece(body: Body, step: int):
    for start in range(0, len(DATA), step):
        write(body, start, min(start + step, len(DATA)))
        whole = (len(DATA) if start + step >= len(DATA) else start + step) // PIECE
        assert digests(body)[:3] == [*DIGESTS[:whole], None, None, None][:3]
    assert digests(body) == DIGESTS


def test_pieces_that_come_side_by_side_each_have_their_own_hash(body: Body):
    for offset in range(0, PIECE, 16 * KIB):
        for index in (2, 0, 1):
            start = index * PIECE + offset
            write(body, start, start + 16 * KIB)
    assert digests(body) == [*DIGESTS[:3], None]


def test_what_comes_twice_counts_once(body: Body):
    for start, end in ((0, 1000), (500, 900), (0, 1000), (900, 3000), (0, PIECE + 5), (PIECE - 7, 2 * PIECE)):
        write(body, start, end)
    assert digests(body) == [*DIGESTS[:2], None, None]


@on_loop
async def test_a_hole_delays_the_digest_until_somebody_asks_for_it(body: Body):
    for start, end in ((0, 100), (200, PIECE), (100, 200), (PIECE + 5, 2 * PIECE)):
        write(body, start, end)
    assert digests(body) == [None] * 4
    assert await body.find_digest(0) == DIGESTS[0] == body.digest_of(0)
    assert await body.find_digest(1) is None
    write(body, PIECE, PIECE + 5)
    assert await body.find_digest(1) == DIGESTS[1]


@on_loop
async def test_unverified_bytes_are_read_when_their_digest_is_known_and_not_before(body: Body):
    body.expect(0, PIECE)
    reading = asyncio.create_task(read_all(body, 0, PIECE))
    offer(body, 0, PIECE)
    await turns()
    assert not reading.done() and body.have.total_bytes == 0 and body.digest_of(0) is None
    assert body.accept(0, DIGESTS[0])
    assert await reading == DATA[:PIECE]
    assert body.digest_of(0) == DIGESTS[0]


@on_loop
async def test_wrong_bytes_are_forgotten_and_right_ones_take_their_place(body: Body):
    offer(body, 0, PIECE, bytes(PIECE))
    assert not body.accept(0, DIGESTS[0])
    assert body.have.total_bytes == 0 and body.unverified_until(0) == 0
    offer(body, 0, PIECE)
    assert body.accept(0, DIGESTS[0])
    assert await read_all(body, 0, PIECE) == DATA[:PIECE]


def test_a_piece_that_is_not_there_whole_is_not_accepted(body: Body):
    offer(body, 0, PIECE - 1)
    assert not body.accept(0, DIGESTS[0])
    assert not body.accept(1, DIGESTS[1])
    write(body, 0, PIECE)
    assert body.accept(0, DIGESTS[0]), "it came another way meanwhile"
    assert not body.accept(0, DIGESTS[1])


@on_loop
async def test_unverified_bytes_go_on_where_verified_ones_end_and_do_not_replace_them(body: Body):
    write(body, 0, 1000)
    write(body, 5000, 6000)
    assert body.unverified_until(0) == 1000
    false = bytes(500) + DATA[500:800] + DATA[800:PIECE]
    body.write_unverified(500, false[500:])
    assert body.accept(0, DIGESTS[0])
    assert await read_all(body, 0, PIECE) == DATA[:PIECE]
    write(body, PIECE, PIECE + 1000)
    body.write_unverified(PIECE, bytes(PIECE))
    assert await read_all(body, PIECE, PIECE + 1000) == DATA[PIECE : PIECE + 1000]
    assert not body.accept(1, DIGESTS[1])
    assert await read_all(body, PIECE, PIECE + 1000) == DATA[PIECE : PIECE + 1000]
    write(body, PIECE + 1000, 2 * PIECE)
    assert body.digest_of(1) == DIGESTS[1]


@on_loop
async def test_a_gap_between_verified_bytes_can_be_filled_unverified(body: Body):
    write(body, 0, 1000)
    write(body, 2000, PIECE)
    offer(body, 1000, 2000)
    assert body.accept(0, DIGESTS[0])
    assert await read_all(body, 0, PIECE) == DATA[:PIECE]


def test_what_is_accepted_is_what_lies_there_and_not_what_came_over_it(body: Body):
    body.write_unverified(1000, b"a false byte, out of order")
    offer(body, 0, PIECE)
    assert not body.accept(0, DIGESTS[0])
    offer(body, 0, PIECE)
    assert body.accept(0, DIGESTS[0])


def test_a_holder_that_stops_half_way_is_gone_on_from(body: Body):
    offer(body, 0, 3000)
    assert body.unverified_until(0) == 3000
    offer(body, 2000, PIECE)
    assert body.accept(0, DIGESTS[0])
    offer(body, PIECE, PIECE + 10)
    body.forget_unverified(1)
    body.forget_unverified(1)
    assert body.unverified_until(1) == PIECE


@on_loop
async def test_a_rejected_piece_is_there_no_more_and_may_come_again(body: Body):
    body.write(0, bytes(PIECE))
    write(body, PIECE, len(DATA))
    body.finish()
    reader = body.open(PIECE)
    body.reject(0)
    assert body.is_partial and body.missing(0, len(DATA)) == [(0, PIECE)] and body.digest_of(0) is None
    with pytest.raises(BrokenBody):
        await read_all(body, 0, 10)
    assert await reader.next()
    reader.close()
    body.expect(0, PIECE)
    write(body, 0, PIECE)
    body.finish()
    body.ended(0, PIECE)
    assert await read_all(body) == DATA and digests(body) == DIGESTS


def test_more_than_was_announced_is_refused_unverified_too(body: Body):
    with pytest.raises(BrokenBody):
        body.write_unverified(len(DATA) - 1, b"xx")


SMALL_LENGTH = 40
steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "offer", "false", "accept", "forget", "reject"]), st.integers(0, SMALL_LENGTH - 1), st.integers(1, 20)
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps)
def test_what_is_readable_is_the_truth_whatever_comes_in_whatever_order(tmp_path_factory, taken):
    truth = random_bytes(SMALL_LENGTH, seed=3)
    storage = DiskStorage(tmp_path_factory.mktemp("pieces") / "1.body")
    body = Body.partial(storage, SMALL_LENGTH)
    body._ledger = type(body._ledger)(Pieces(SMALL_LENGTH, 16))
    digests = [sha256(truth[start : start + 16]).digest() for start in range(0, SMALL_LENGTH, 16)]
    for act, position, size in taken:
        index, end = position // 16, min(position + size, SMALL_LENGTH)
        match act:
            case "write":
                body.write(position, truth[position:end])
            case "offer":
                body.write_unverified(position, truth[position:end])
            case "false":
                body.write_unverified(position, bytes(end - position))
            case "accept":
                body.accept(index, digests[index])
            case "forget":
                body.forget_unverified(index)
            case "reject":
                body.reject(index)
        on_disk = storage.path.read_bytes() if storage.path.exists() else b""
        for start, stop in body.have:
            assert on_disk[start:stop] == truth[start:stop]
        for piece, digest in enumerate(digests):
            assert body.digest_of(piece) in (None, digest)
            assert body.digest_of(piece) is None or body.have.covers(*body.pieces.span(piece))
    storage.discard()


@on_loop
async def test_who_read_of_a_piece_that_turns_out_wrong_is_cut_off_and_nobody_else(body: Body) -> None:
    write(body, 0, 2 * PIECE - 1000)
    within, at_its_start, before, behind = body.open(), body.open(PIECE), body.open(0, PIECE), body.open(2 * PIECE)
    while within.position < 2 * PIECE - 1000:
        await within.next()
    assert await before.next() == DATA[:PIECE]
    body.reject(1)
    body.expect(PIECE, 2 * PIECE)
    with pytest.raises(BrokenBody, match="turned out wrong"):
        await within.next()
    write(body, PIECE, len(DATA))
    assert await before.next() == b""
    assert (await at_its_start.next())[:10] == DATA[PIECE : PIECE + 10]
    assert await behind.next()
    assert await read_all(body, 0, PIECE + 10) == DATA[: PIECE + 10]
