"""A real peer whose door for pieces is evil in the way that the file named by EVIL says, and real where that file is empty.

It joins, renews, owns pieces and is asked for them as every other peer; what it answers is up to `answer`.
"""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from minicdn.__main__ import main
from minicdn.node.seeding import Seed
from minicdn.web.pieces import PiecesDoor
from minicdn.wire.pieces import PieceAnswer, PieceRequest, Referral

DEAD_URL = "http://127.0.0.1:9"
_answer, _have_mask = PiecesDoor._answer, Seed.have_mask


def way() -> str:
    return Path(os.environ["EVIL"]).read_text()


def span_of(asked: PieceRequest, index: int) -> tuple[int, int]:
    return index * asked.size, min((index + 1) * asked.size, asked.length)


def all_of(asked: PieceRequest) -> int:
    return (1 << -(-asked.length // asked.size)) - 1


async def answer(door: PiecesDoor, scope: Any, send: Any, asked: PieceRequest) -> None:
    kind = way()
    if not kind or (kind == "wrong as holder" and (asked.is_owners or asked.is_digests)):
        await _answer(door, scope, send, asked)
    elif kind == "silent":
        await asyncio.Event().wait()
    elif kind in ("failed", "refused", "changed"):
        await door._send_only(send, PieceAnswer(kind, detail="so it says"))
    elif kind in ("refers in a ring", "refers to the dead", "never has it"):
        holders = {"refers in a ring": (asked.asker,), "refers to the dead": (DEAD_URL,)}.get(kind, ())
        referrals = tuple(Referral(index, holders, None, kind == "never has it") for index in asked.wanted)
        await door._send_only(send, PieceAnswer("pieces", referrals=referrals, have_mask=all_of(asked)))
    else:
        await send_wrong(door, scope, send, asked, kind)


async def send_wrong(door: PiecesDoor, scope: Any, send: Any, asked: PieceRequest, kind: str) -> None:
    """Bytes of no file, as far as they go."""
    length = sum(end - start + 32 for start, end in (span_of(asked, index) for index in asked.wanted))
    await door._send_head(send, PieceAnswer("pieces", given=asked.wanted, have_mask=all_of(asked)), length)
    if kind == "head only":
        await asyncio.Event().wait()
    for index in asked.wanted:
        start, end = span_of(asked, index)
        wrong = b"\x55" * (end - start)
        await send_body(send, wrong[: len(wrong) // 2])
        if kind == "half and silence":
            await asyncio.Event().wait()
        if kind == "cut":
            scope["minicdn.connection"].cut()
            return
        await send_body(send, wrong[len(wrong) // 2 :])
        await send_body(send, sha256(wrong).digest() if kind == "wrong as holder" else bytes(32))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_body(send: Any, data: bytes) -> None:
    for at in range(0, len(data), 65536):
        await send({"type": "http.response.body", "body": data[at : at + 65536], "more_body": True})


def have_mask(seed: Seed) -> int:
    return (1 << seed.pieces.count) - 1 if way() == "wrong as holder" else _have_mask(seed)


if __name__ == "__main__":
    PiecesDoor._answer = answer  # type: ignore[method-assign]
    Seed.have_mask = have_mask  # type: ignore[method-assign]
    main()
