"""The peer's way to the manager, and the manager's look at a peer, over transports made here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from minicdn.settings import Settings
from minicdn.wire.codec import decode, encode
from minicdn.wire.manager import ManagerClient, ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import Renew, RenewAnswer
from minicdn.wire.prober import Prober

RENEW = Renew("anna", "life.1", "v1", 0.05)


def through(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    """A transport whose answers are streams, as those of a network are."""

    def stream(request: httpx.Request) -> httpx.Response:
        made = answer(request)
        return httpx.Response(made.status_code, headers=made.headers, stream=httpx.ByteStream(made.content))

    return httpx.MockTransport(stream)


def renew_through(answer: Callable[[httpx.Request], httpx.Response]) -> RenewAnswer:
    async def run() -> RenewAnswer:
        client = ManagerClient("http://manager:11000/", Settings(), transport=through(answer))
        try:
            return await client.renew(RENEW)
        finally:
            await client.close()

    return asyncio.run(run())


def test_a_renewal_is_a_message_to_its_path_and_the_answer_a_value() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=encode(RenewAnswer("unknown").to_wire()))

    assert renew_through(answer) == RenewAnswer("unknown")
    assert str(seen[0].url) == "http://manager:11000/_rpc/renew"
    assert seen[0].headers["content-type"] == "application/msgpack"
    assert Renew.from_wire(decode(seen[0].content)) == RENEW


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404, text="no such page\nsecond line"),
        httpx.Response(302, headers={"location": "http://elsewhere/"}),
        httpx.Response(503, text=""),
        httpx.Response(200, text="<html>hello"),
        httpx.Response(200, content=encode({"status": 5})),
        httpx.Response(200, content=b"\x80" * (9 << 20)),
    ],
    ids=["404", "302", "503", "a web page", "another message", "endless"],
)
def test_another_program_at_the_managers_address_is_no_manager(response: httpx.Response) -> None:
    with pytest.raises(ManagerUnreachable) as caught:
        renew_through(lambda request: response)
    assert "http://manager:11000" in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN = [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.ReadError(""), httpx.RemoteProtocolError("gone")]


@pytest.mark.parametrize("error", BROKEN)
def test_whatever_breaks_on_the_way_is_one_error(error: Exception) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ManagerUnreachable):
        renew_through(answer)


def test_a_refusal_is_told_apart_from_silence() -> None:
    with pytest.raises(ManagerRefused, match="id is missing"):
        renew_through(lambda request: httpx.Response(400, text="id is missing\n"))


def test_a_manager_that_takes_the_request_and_says_nothing_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr("minicdn.wire.manager.ANSWER_SECONDS", 0.05)

    async def run() -> None:
        gone = asyncio.Event()

        async def serve(reader, writer) -> None:
            await gone.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = ManagerClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", Settings())
        with pytest.raises(ManagerUnreachable, match="did not answer renew within"):
            await client.renew(RENEW)
        gone.set()
        await client.close()
        server.close()

    asyncio.run(run())


def probe_through(answer: Callable[[httpx.Request], httpx.Response]) -> str | None:
    async def run() -> str | None:
        prober = Prober(0.2, transport=through(answer))
        try:
            return await prober.probe("http://10.0.0.5:11001", "anna")
        finally:
            await prober.close()

    return asyncio.run(run())


@pytest.mark.parametrize("status", [200, 503])
def test_a_node_that_answers_with_its_id_is_there_even_before_it_is_ready(status: int) -> None:
    assert probe_through(lambda request: httpx.Response(status, json={"id": "anna"})) is None


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(200, json={"id": "bob"}), "another minicdn node"),
        (httpx.Response(200, text="hello"), "another program"),
        (httpx.Response(404, json={"id": "anna"}), "another program"),
        (httpx.Response(302, headers={"location": "http://x/"}), "another program"),
        (httpx.Response(200, text=json.dumps(["anna"])), "another program"),
        (httpx.Response(200, json={"id": 5}), "another program"),
        (httpx.Response(200, text="[" * 60_000), "another program"),
        (httpx.Response(200, text="x" * 100_000), "too long"),
    ],
)
def test_whoever_else_answers_there_is_told_apart(response: httpx.Response, reason: str) -> None:
    assert reason in (probe_through(lambda request: response) or "")


def test_nobody_there_is_a_reason_and_no_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    assert probe_through(answer) == "All connection attempts failed"


def test_a_port_that_accepts_and_stays_silent_is_not_waited_for() -> None:
    async def run() -> str | None:
        gone = asyncio.Event()

        async def serve(reader, writer) -> None:
            await gone.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        prober = Prober(0.1)
        reason = await prober.probe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "anna")
        gone.set()
        await prober.close()
        server.close()
        return reason

    assert "no answer within 0.1 s" in (asyncio.run(run()) or "")
