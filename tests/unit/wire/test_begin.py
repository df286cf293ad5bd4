"""Questions for which no task waits (HttpDoor.begin) come to the very same as those that one waits for (send), whatever is answered, and
however it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minicdn.wire.http import Exchange, ExchangeError
from tests.unit.wire.test_transport import OK, Side, Stage, run, staged

__all__ = ["run"]

Run = Callable[[Awaitable[None]], None]
HEAD, BODY = OK[:-5], OK[-5:]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
ONE_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
FOUND = (200, [(b"Content-Length", b"5")], BODY)
END = b""
"""In an answer's parts: the connection ends here."""

ANSWERS: dict[str, list[bytes]] = {
    "plain": [OK],
    "another status": [OK.replace(b"200 OK", b"404 Not Found")],
    "a head in two": [OK[:30], OK[30:]],
    "a body behind its head": [HEAD, BODY],
    "a body in two": [OK[:-2], OK[-2:]],
    "an empty body": [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    "spaces": [b"HTTP/1.1 200 OK\r\nX:  y \t\r\nContent-Length:5  \r\n\r\nhello"],
    "the same field twice": [b"HTTP/1.1 200 OK\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\nhello"],
    "chunks": [CHUNKED],
    "chunks in two": [CHUNKED[:60], CHUNKED[60:]],
    "chunks and trailers": [CHUNKED[:-2] + b"X: y\r\n\r\n"],
    "a chunk": [ONE_CHUNK + b"\r\n"],
    "a chunk and trailers": [ONE_CHUNK + b"Set-Cookie:\r\nX: y\r\n\r\n"],
    "a chunk, and trailers that speak of the connection": [ONE_CHUNK + b"Connection: close\r\n\r\n"],
    "another coding": [CHUNKED.replace(b"chunked", b"gzip, chunked")],
    "204": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "304": [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"],
    "an interim answer": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK],
    "an interim answer before": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK],
    "one that is the last": [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")],
    "HTTP/1.0": [OK.replace(b"1.1", b"1.0")],
    "up to the end": [b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", END],
    "and more": [OK + OK],
    "and more later": [OK, OK],
    "nothing": [END],
    "half a head": [HEAD[:20], END],
    "half a body": [OK[:-2], END],
    "half a body later": [HEAD, BODY[:2], END],
    "half of the chunks": [CHUNKED[:-9], END],
    "no HTTP": [b"hello\r\n\r\n"],
    "two lengths": [OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n")],
    "another protocol": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    "silence": [b"HTTP/1.1 200 OK\r\n"],
    "silence in the body": [HEAD, BODY[:2]],
    "a long body": [b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", bytes(2_000_000)],
}


def talk_of(parts: list[bytes]) -> Callable[[Side], Awaitable[None]]:
    """The first answer of each connection is OK, so that it is kept; the second one of the first connection is the one in question."""

    async def talk(side: Side) -> None:
        for number in range(1 << 30):
            await side.head()
            if number != 1 or side.number != 1:
                await side.say(OK)
                continue
            for part in parts:
                if part == END:
                    return
                await side.say(part)
                await asyncio.sleep(0.02)  # so that the parts arrive one by one

    return talk


async def waited(stage: Stage, told: list[Any]) -> tuple[Any, ...]:
    exchange = await stage.door.send(
        "GET", stage.base, b"/x", ((b"Host", b"h"),), on_interim=lambda status, fields: told.append((status, list(fields)))
    )
    try:
        return exchange.status, list(exchange.fields), await exchange.read(1 << 30)
    finally:
        await exchange.close()


async def begun(stage: Stage, told: list[Any]) -> tuple[Any, ...]:
    calls: list[bool] = []
    came = asyncio.Event()

    def call() -> None:
        calls.append(True)
        came.set()

    question = stage.door.begin(
        "GET", stage.base, b"/x", ((b"Host", b"h"),), b"", call, on_interim=lambda status, fields: told.append((status, list(fields)))
    )
    assert question is not None
    assert not calls
    await came.wait()
    assert len(calls) == 1
    if question.has_all:
        exchange = Exchange(*question.all())
        found = exchange.status, list(exchange.fields), exchange.take_whole()
        exchange.end()
        return found
    exchange = await stage.door.go_on(question)
    try:
        return exchange.status, list(exchange.fields), await exchange.read(1 << 30)
    finally:
        await exchange.close()


def has_idle(stage: Stage) -> bool:
    """Whether there is a connection that can be asked by."""
    return any(connection.is_open for idle in stage.pool._idle.values() for connection, _ in idle)


async def come_to(ask: Callable[[Stage, list[Any]], Awaitable[tuple[Any, ...]]], parts: list[bytes]) -> tuple[Any, ...]:
    """All that can be seen from here and from there."""
    told: list[Any] = []
    async with staged(talk_of(parts), read_seconds=0.3) as stage:
        assert await stage.get() == BODY
        try:
            found: Any = await ask(stage, told)
        except ExchangeError as error:
            found = type(error).__name__
        assert stage.pool.statistics()["taken_count"] == 0
        await asyncio.sleep(0.05)  # what comes unasked has come
        after = [await (ask if has_idle(stage) else waited)(stage, told) for _ in range(3)]
        return found, told, after, stage.server.connections_count


@pytest.mark.parametrize("name", ANSWERS)
def test_it_comes_to_the_same(run: Run, name: str) -> None:
    async def story() -> None:
        expected = await come_to(waited, ANSWERS[name])
        assert expected[2] == [FOUND] * 3
        assert await come_to(begun, ANSWERS[name]) == expected

    run(story())


def test_many_in_a_row_go_by_one_connection_and_are_told_apart(run: Run) -> None:
    """Each leaves the parser to the next, whatever came before it."""
    parts = [
        parts for name, parts in ANSWERS.items() if END not in parts and not name.startswith(("silence", "no HTTP", "two", "another p"))
    ]

    async def talk(side: Side) -> None:
        for number in range(1 << 30):
            await side.head()
            for part in [OK] if number % 2 == 0 else parts[number // 2 % len(parts)]:
                await side.say(part)
                await asyncio.sleep(0.005)

    async def story() -> None:
        async with staged(talk) as stage:
            assert await stage.get() == BODY
            for _ in range(len(parts)):
                for ask in (begun, begun):
                    if not has_idle(stage):
                        assert await stage.get()
                        continue
                    found = await ask(stage, [])
                    assert found[2] in (BODY, b"", bytes(2_000_000)), found
                    assert len(found[1]) <= 3, found
            assert stage.pool.statistics()["taken_count"] == 0

    run(story())


def test_without_a_connection_that_is_there_nothing_is_asked(run: Run) -> None:
    async def story() -> None:
        async with staged(talk_of([OK])) as stage:
            assert stage.door.begin("GET", stage.base, b"/x", ((b"Host", b"h"),), b"", lambda: None) is None
            assert stage.server.connections_count == 0

    run(story())


def test_one_that_is_given_up_costs_its_connection_and_nothing_else(run: Run) -> None:
    async def story() -> None:
        async with staged(talk_of([])) as stage:
            await stage.get()
            question = stage.door.begin("GET", stage.base, b"/x", ((b"Host", b"h"),), b"", lambda: None)
            assert question is not None
            assert stage.pool.statistics()["taken_count"] == 1
            question.end()
            question.end()
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}
            assert await stage.get() == BODY
            assert stage.server.connections_count == 2

    run(story())


def test_places_go_to_who_waited_longest_and_none_is_lost(run: Run) -> None:
    """One who gives up, before or in the moment in which his place comes, leaves it to the next."""

    async def story() -> None:
        async with staged(talk_of([OK]), connections_max=1) as stage:
            first = await stage.send()
            order: list[int] = []

            async def wait(number: int) -> None:
                await stage.get()
                order.append(number)

            tasks = [asyncio.ensure_future(wait(number)) for number in range(4)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            await first.close()
            tasks[1].cancel()  # its place was given to it a moment before
            await asyncio.wait(tasks)
            assert order == [2, 3]
            assert stage.pool.statistics()["taken_count"] == 0

    run(story())
