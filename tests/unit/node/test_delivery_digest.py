"""When the whole's sha-256 is told: to those who ask, and unasked where it is known."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from minicdn.core.headers import first
from minicdn.core.message import Head, Request
from minicdn.node.delivery import deliver
from minicdn.node.found import Found
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry
from minicdn.store.memory import MemoryStorage
from tests.unit.store.making import make_stored

DATA = bytes(1000)
TOLD = b"sha-256=:%b:" % b64encode(sha256(DATA).digest())


def found(body: Body, *fields: tuple[bytes, bytes]) -> Found:
    body.write(0, DATA)
    body.finish()
    stored = make_stored((b"ETag", b'"1"'), *fields)
    return Found(Entry("/x", Head(200, stored.head.fields), stored, body), "disk")


def told(answer: Found, *fields: tuple[bytes, bytes], method: str = "GET") -> bytes | None:
    delivery = deliver(Request(method, b"/x", "/x", fields), answer, 1000.0, name="n", boundary="b")
    assert delivery.status == (206 if fields and fields[0][0] == b"range" else 200)
    return first(delivery.fields, b"repr-digest")


@pytest.fixture
def on_disk(tmp_path: Path) -> Body:
    return Body(DiskStorage(tmp_path / "1.body"), len(DATA))


def summed(answer: Found) -> Found:
    answer.entry.body.ledger.sha256 = sha256(DATA).digest()
    return answer


def test_of_a_body_on_disk_it_is_told_unasked_as_soon_as_it_is_known(on_disk: Body):
    answer = found(on_disk)
    assert told(answer) is None and told(answer, (b"want-repr-digest", b"sha-256=1")) is None
    summed(answer)
    assert told(answer) == told(answer, method="HEAD") == told(answer, (b"range", b"bytes=5-9")) == TOLD
    assert told(answer, (b"want-repr-digest", b"sha-256=1")) == TOLD


@pytest.mark.parametrize("wish", [b"sha-256=0", b"sha-512=3"])
def test_who_wants_another_or_none_gets_none(on_disk: Body, wish: bytes):
    assert told(summed(found(on_disk)), (b"want-repr-digest", wish)) is None


def test_the_upstreams_own_stays(on_disk: Body):
    assert told(summed(found(on_disk, (b"Repr-Digest", b"sha-512=:AA==:")))) == b"sha-512=:AA==:"


def test_of_a_body_in_memory_it_is_told_to_those_who_ask():
    answer = found(Body(MemoryStorage(len(DATA)), len(DATA)))
    assert told(answer) is None
    assert told(answer, (b"want-repr-digest", b"sha-256=1")) == TOLD


def test_a_body_that_lost_a_piece_has_none(on_disk: Body):
    answer = summed(found(on_disk))
    answer.entry.body.reject(0)
    assert answer.entry.body.sha256 is None
