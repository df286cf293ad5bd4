"""Messages of nodes, and the records on disk, changed at random: what can't be read is refused in one way, and nothing else happens."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minicdn.core.counters import Counters
from minicdn.core.freshness import to_wire
from minicdn.core.pieces import Pieces
from minicdn.core.purging import Purge
from minicdn.errors import BrokenBody, ClientError
from minicdn.store.index import Record, body_path, meta_path, read_record, write_record
from minicdn.store.shelf import Shelf
from minicdn.wire.codec import decode, encode
from minicdn.wire.fetch import FetchAnswer, FetchRequest
from minicdn.wire.messages import Accusation
from minicdn.wire.pieces import PieceAnswer, PieceRequest, Referral
from minicdn.wire.preheats import LOADING, LoadAnswer, LoadCall
from minicdn.wire.purges import PurgeAnswer, PurgeCall
from tests.fuzz.heads import Ran
from tests.fuzz.mutations import mutate
from tests.unit.store.making import make_stored
from tests.unit.wire.test_messages import MESSAGES

WORDS = [
    *(b"\x00", b"\x7f", b"\x80", b"\x81", b"\x8f", b"\x90", b"\x9f", b"\xa0", b"\xbf", b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\xe0"),
    *(b"\xc4\xff", b"\xc6\xff\xff\xff\xff", b"\xc7\x01\x05", b"\xca\x7f\xc0\x00\x00", b"\xcb\x7f\xf0" + bytes(6), b"\xcf" + b"\xff" * 8),
    *(b"\xd3\x80" + bytes(7), b"\xd4\x01\x00", b"\xd9\xff", b"\xdb\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff"),
    *(b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xa3key", b"\xa2id", b"\xa3url", b"\xacretry_after_seconds", b"/" * 300),
    *(b"\x91" * 1200, b"\xed\xa0\x80", b"\xc0\x80", b"\xff"),
]
ASKED = PieceRequest("/a", (), b'"v"', 3 << 20, 262144, (0, 1, 5), True, "http://10.0.0.1:1")
STORED = make_stored((b"ETag", b'"1"'), (b"Cache-Control", b"max-age=60"), selecting=((b"accept", b"text/html"),))

Read = Callable[[Mapping[str, Any]], Any]


def readers() -> list[tuple[bytes, Read]]:
    """Octets of each kind of message, and who reads them."""
    found: list[tuple[bytes, Read]] = [(encode(message.to_wire()), type(message).from_wire) for message in MESSAGES]
    fields = ((b"accept", b"*/*"), (b"via", b"1.1 x"))
    fetch = FetchRequest("GET", "/a?b", fields, range=b"bytes=0-5", target="/a?b&c", mark="life.5", asker="http://10.0.0.1:1")
    answer = FetchAnswer("found", 200, [(b"etag", b'"1"')], to_wire(STORED), 3.0, 500_000, 0, None, deal=(("http://10.0.0.1:1", 1.0),))
    pieces = PieceAnswer("pieces", (0,), (Referral(1, ("http://10.0.0.1:1",), bytes(32)),), 7)
    return [
        *found,
        (encode(fetch.to_wire()), FetchRequest.from_wire),
        (encode(answer.to_wire()), FetchAnswer.from_wire),
        (encode(ASKED.to_wire()), PieceRequest.from_wire),
        (encode(pieces.to_wire()), lambda plain: PieceAnswer.from_wire(plain, ASKED)),
        (encode({"id": "anna", "url": "http://10.0.0.1:1", "key": "/a", "index": 3}), Accusation.from_wire),
        (encode(PurgeCall("anna", "t", Purge(frozenset(("/b",)), ("/a/",), frozenset(("t",)))).to_wire()), PurgeCall.from_wire),
        (encode(LoadCall("/a?b", ((b"accept", b"*/*"),), 0.1).to_wire()), LoadCall.from_wire),
        (encode(LoadAnswer(LOADING, 5, 10, "why").to_wire()), LoadAnswer.from_wire),
        (encode(PurgeAnswer(3, 2, ("http://10.0.0.1:1",)).to_wire()), PurgeAnswer.from_wire),
    ]


def fuzz_messages(seed: int, count: int, seconds_max: float) -> Ran:
    rng, ran, began_at, kinds = random.Random(seed), Ran(), time.monotonic(), readers()
    while ran.requests_count < count and time.monotonic() < began_at + seconds_max and not ran.wrong:
        octets, read = rng.choice(kinds)
        octets = mutate(rng, octets, WORDS)
        try:
            read(decode(octets))
            ran.statuses[200] += 1
        except ClientError as error:
            ran.statuses[error.status] += 1
        except Exception as error:
            ran.wrong.append(f"{type(error).__name__}: {error} for {octets!r} by {read}")
        ran.requests_count += 1
    ran.seconds = time.monotonic() - began_at
    return ran


def fuzz_index(folder: Path, seed: int, count: int, seconds_max: float) -> Ran:
    """Lots of records in one folder, each opened as a restart would, and what is found is read."""
    rng, ran, began_at = random.Random(seed), Ran(), time.monotonic()
    while ran.requests_count < count and time.monotonic() < began_at + seconds_max and not ran.wrong:
        lot = folder / f"lot-{ran.requests_count}"
        bodies = [_changed_record(rng, lot, number) for number in range(min(200, count - ran.requests_count))]
        ran.requests_count += len(bodies)
        try:
            asyncio.run(_reopen(lot, ran.statuses))
        except Exception as error:
            ran.wrong.append(f"{type(error).__name__}: {error} in {lot}")
    ran.seconds = time.monotonic() - began_at
    return ran


def _changed_record(rng: random.Random, folder: Path, number: int) -> Path:
    data = rng.randbytes(rng.choice((0, 1, 5000, 300_000)))
    body = body_path(folder / "objects", f"/{number}", f"{number:08x}")
    body.parent.mkdir(parents=True, exist_ok=True)
    body.write_bytes(data)
    layout = Pieces.of(max(len(data), 1))
    digests = b"".join(rng.choice((bytes(32), rng.randbytes(32))) for _ in range(layout.count))
    is_whole, whole = rng.random() < 0.6, rng.choice((None, rng.randbytes(32)))
    record = Record(f"/{number}", to_wire(STORED), len(data), is_whole, layout.size, digests, whole)
    write_record(body, record)
    meta = meta_path(body)
    if rng.random() < 0.95:
        meta.write_bytes(mutate(rng, meta.read_bytes(), WORDS))
    if rng.random() < 0.1:
        os.truncate(body, rng.randrange(len(data) + 1))
    read_record(meta)
    return body


async def _reopen(folder: Path, found: Counter[int]) -> None:
    shelf = Shelf(memory_bytes=1 << 20, disk_bytes=1 << 30, small_bytes=1 << 16, cache_dir=folder, counters=Counters())
    await shelf.open()
    for key in list(shelf.keys()):
        for entry in shelf.find(key):
            reader = entry.body.open(0, entry.body.length if entry.body.is_whole else 1)
            try:
                while await reader.next():
                    pass
                found[200] += 1
            except BrokenBody:
                found[410] += 1
            finally:
                reader.close()
    await shelf.close()
