"""One piece, bytes from two: what may be read is what was hashed, whoever wrote first."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest

from minicdn.core.pieces import Pieces
from minicdn.errors import BrokenBody
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage

LENGTH = 600_000
SIZE = Pieces.of(LENGTH).size
RIGHT, WRONG = bytes(range(256)) * (SIZE // 256), b"\x55" * SIZE
DIGEST = sha256(RIGHT).digest()
QUARTER, HALF = SIZE // 4, SIZE // 2


@pytest.fixture
def body(tmp_path: Path) -> Body:
    return Body.partial(DiskStorage(tmp_path / "body"), LENGTH)


def test_an_owner_writes_wrong_bytes_under_what_a_holder_is_sending(body: Body) -> None:
    body.expect(0, SIZE)
    body.write_unverified(0, RIGHT[:QUARTER])
    body.write(0, WRONG[:HALF])
    body.write_unverified(QUARTER, RIGHT[QUARTER:])
    assert not body.accept(0, DIGEST), "what lies on the disk is a patchwork"


def test_the_same_with_right_bytes_is_right(body: Body) -> None:
    body.expect(0, SIZE)
    body.write_unverified(0, RIGHT[:QUARTER])
    body.write(0, RIGHT[:HALF])
    body.write_unverified(QUARTER, RIGHT[QUARTER:])
    assert body.accept(0, DIGEST)
    assert body.storage.read(0, SIZE) == RIGHT


@pytest.mark.parametrize("first", [RIGHT, WRONG], ids=["right", "wrong"])
def test_the_upstream_goes_over_what_an_owner_began(body: Body, first: bytes) -> None:
    body.expect(0, SIZE)
    body.write(0, first[:HALF])
    reader = body.open(0, SIZE)
    assert asyncio.run(reader.next()) == first[:HALF]
    body.write(0, RIGHT[:QUARTER])
    body.write(QUARTER, RIGHT[QUARTER:])
    assert body.digest_of(0) == DIGEST and body.storage.read(0, SIZE) == RIGHT
    if first is RIGHT:
        assert asyncio.run(reader.next()) == RIGHT[HALF:]
    else:
        with pytest.raises(BrokenBody):
            asyncio.run(reader.next())


def test_a_holder_writes_first_and_the_owner_in_the_middle(body: Body) -> None:
    body.expect(0, SIZE)
    body.write_unverified(0, RIGHT[:HALF])
    body.write(HALF, WRONG[HALF : HALF + QUARTER])
    body.write_unverified(HALF, RIGHT[HALF:])
    assert not body.accept(0, DIGEST)
