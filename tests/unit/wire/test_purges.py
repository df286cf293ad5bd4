from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from minicdn.core.journal import Entry, Mark
from minicdn.core.purging import Purge
from minicdn.errors import ClientError, PeerError
from minicdn.wire.codec import Taker, decode, encode
from minicdn.wire.messages import Join, JoinAnswer, Renew, RenewAnswer
from minicdn.wire.purgeclient import PurgeClient
from minicdn.wire.purges import Missed, PurgeAnswer, PurgeCall
from tests.unit.wire.test_messages import PEERS, SHARED

PURGE = Purge(frozenset(("/a",)), ("/b",), frozenset(("t",)), is_soft=False)
MARK = Mark("ab12", 7)
CALL = PurgeCall("anna", "token", PURGE, Mark("ab12", 6), MARK)
MISSED = Missed((Entry(7, 6, "token", PURGE),), MARK)


@pytest.mark.parametrize(
    "message",
    [
        CALL,
        PurgeCall("anna", "token", PURGE),
        PurgeAnswer(3),
        PurgeAnswer(3, 4, ("http://10.0.0.5:1",), Mark("ab12", 6), MARK),
        Join("anna", 1, None, "0", MARK),
        Renew("anna", "e.1", "v", 5.0, MARK),
        JoinAnswer("joined", "", "http://a", PEERS, SHARED, 0.0, MISSED),
        RenewAnswer("ok", missed=Missed(None, MARK)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_each_message_comes_through_the_wire_unchanged(message: Any) -> None:
    assert type(message).from_wire(decode(encode(message.to_wire()))) == message
    for name in message.to_wire():
        for odd in (None, 7, "x", b"x", [1], {"a": 1}, [[1, 2, 3]]):
            with contextlib.suppress(ClientError):
                type(message).from_wire({**message.to_wire(), name: odd})


@pytest.mark.parametrize(
    "found", [{}, {"mark": ""}, {"mark": "ab.1", "entries": [1]}, {"mark": "ab.1", "entries": [[2, 1, "t", {"soft": True}]]}]
)
def test_what_is_no_list_of_missed_purges(found: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        Missed.from_wire(Taker(found))


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def reply(status: int, body: bytes = b"") -> httpx.Response:
    """As it comes from the network: not read yet."""
    return httpx.Response(status, stream=_Body(body))


def told(answer: Any) -> PurgeAnswer:
    async def run() -> PurgeAnswer:
        client = PurgeClient(transport=httpx.MockTransport(answer))
        try:
            return await client.tell("http://peer:1", CALL, 0.2)
        finally:
            await client.close()

    return asyncio.run(run())


def test_a_node_is_told_and_answers() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://peer:1/" and request.extensions["target"] == b"/_rpc/purge"
        assert request.headers["content-type"] == "application/msgpack"
        assert PurgeCall.from_wire(decode(request.content)) == CALL
        return reply(200, encode(PurgeAnswer(3, mark=MARK).to_wire()))

    assert told(answer) == PurgeAnswer(3, mark=MARK)


async def _silent(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def _refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (_silent, "did not answer"),
        (_refused, "refused"),
        (lambda request: reply(404), "404"),
        (lambda request: reply(200, b"hello"), "minicdn"),
        (lambda request: reply(200, b"x" * 100_000), "longer than"),
    ],
)
def test_whatever_keeps_an_answer_from_coming_is_a_peers_error(answer: Any, word: str) -> None:
    with pytest.raises(PeerError, match=word):
        told(answer)
