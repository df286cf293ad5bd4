"""What leaves together, leaves in one write: each write to a peer is a packet there, and wakes it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from minicdn.web.answering import COPIED_BYTES_MAX, Answering


class Written:
    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.calls.append(bytes(data))

    def writelines(self, parts: Any) -> None:
        self.calls.append(b"".join(parts))

    def is_closing(self) -> bool:
        return False


def answering(transport: Written) -> Answering:
    cycle = Answering()
    cycle.scope, cycle.transport, cycle.flow = {"method": "GET", "http_version": "1.1"}, transport, SimpleNamespace(write_paused=False)
    cycle.keep_alive, cycle.more_body, cycle.disconnected, cycle.response_started = True, False, False, False
    cycle.response_complete, cycle.waiting_for_100_continue = False, False
    cycle.message_event, cycle.on_response = SimpleNamespace(set=lambda: None), lambda: None  # type: ignore[assignment]
    return cycle


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("size", [100, 4 * COPIED_BYTES_MAX])
def test_what_is_followed_waits_for_what_follows(size: int, has_length: bool) -> None:
    parts = [b"map", bytes(size), b"digest"]
    transport = Written()

    async def answer() -> None:
        cycle = answering(transport)
        fields = [(b"content-length", b"%d" % sum(map(len, parts)))] if has_length else []
        await cycle.send({"type": "http.response.start", "status": 200, "headers": fields, "minicdn.is_followed": True})
        for part in parts:
            is_followed = part != parts[-1]
            await cycle.send({"type": "http.response.body", "body": part, "more_body": True, "minicdn.is_followed": is_followed})
        assert len(transport.calls) == 1
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})
        assert cycle.response_complete

    asyncio.run(answer())
    head, _, content = b"".join(transport.calls).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    wanted = b"".join(parts) if has_length else b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert content == wanted


def test_what_is_followed_by_nothing_more_leaves_with_the_end() -> None:
    transport = Written()

    async def answer() -> None:
        cycle = answering(transport)
        await cycle.send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")], "minicdn.is_followed": True}
        )
        await cycle.send({"type": "http.response.body", "body": b"map", "more_body": True, "minicdn.is_followed": True})
        assert transport.calls == []
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})

    asyncio.run(answer())
    assert len(transport.calls) == 1 and transport.calls[0].endswith(b"\r\n\r\nmap")
