"""Fingerprints in place of authorities: whoever shows another certificate is told nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from minicdn.loops import loop_factory
from minicdn.wire.http import HttpDoor, NotConnected, parse_base
from minicdn.wire.prober import Prober
from minicdn.wire.tls import file_fingerprint, fingerprint, listening, pinned

OTHER = "sha256:" + "0" * 64
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n" + b'{"id":"ann"}'


class Pair:
    """A certificate of nobody's authority, in files."""

    def __init__(self, folder: Path, name: str) -> None:
        made = pytest.importorskip("trustme").CA().issue_cert("somewhere.example")
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        self.cert.write_bytes(b"a comment\n" + b"".join(blob.bytes() for blob in made.cert_chain_pems))
        self.key.write_bytes(made.private_key_pem.bytes())
        self.pin = file_fingerprint(self.cert)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("tls"), "node")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def runs(story: Any) -> Any:
        with asyncio.Runner(loop_factory=loop_factory() if request.param == "uvloop" else None) as runner:
            return runner.run(story)

    return runs


@asynccontextmanager
async def server(pair: Pair) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its URL, and what it was told."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not (heard and heard[-1].endswith(b"\r\n\r\n")):
                if not (data := await reader.read(4096)):
                    break
                heard.append(data)
            writer.write(ANSWER)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    listening_at = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=listening(pair.cert, pair.key))
    try:
        yield f"https://127.0.0.1:{listening_at.sockets[0].getsockname()[1]}", heard
    finally:
        listening_at.close()


def door(pin: str | None) -> HttpDoor:
    return HttpDoor(connections_max=2, connect_seconds=5, read_seconds=5, pin_of=lambda url: pin)


async def get(url: str, pin: str | None) -> bytes:
    opened = door(pin)
    try:
        exchange = await opened.send("GET", parse_base(url), b"/", [(b"Host", b"x")])
        try:
            return await exchange.read(100)
        finally:
            await exchange.close()
    finally:
        await opened.close()


def test_the_certificate_of_that_fingerprint_needs_no_authority_and_no_name(run: Any, pair: Pair) -> None:
    async def story() -> None:
        async with server(pair) as (url, _):
            assert await get(url, pair.pin) == b'{"id":"ann"}'

    run(story())


@pytest.mark.parametrize("pin", [OTHER, None])
def test_another_certificate_is_told_nothing(run: Any, pair: Pair, pin: str | None) -> None:
    async def story() -> None:
        async with server(pair) as (url, heard):
            with pytest.raises(NotConnected, match=r"its certificate is"):
                await get(url, pin)
            assert b"".join(heard) == b""

    run(story())


def test_the_manager_and_the_prober_pin_too(pair: Pair) -> None:
    """Both speak through httpx."""

    async def story() -> None:
        async with server(pair) as (url, _):
            prober = Prober(5.0)
            assert await prober.probe(url, "ann", pair.pin) is None
            assert OTHER in (await prober.probe(url, "ann", OTHER) or "")
            await prober.close()
        async with server(pair) as (url, heard):
            async with httpx.AsyncClient(verify=pinned(OTHER)) as client:
                with pytest.raises(httpx.ConnectError):
                    await client.post(url, content=b"secret")
            assert b"".join(heard) == b""

    asyncio.run(story())


def test_a_blocking_client_pins_too(pair: Pair) -> None:
    """`minicdn explain` waits for its answer in a plain socket."""

    async def story() -> None:
        async with server(pair) as (url, heard):

            def ask(pin: str) -> bytes:
                with httpx.Client(verify=pinned(pin)) as client:
                    return client.get(url).content

            with pytest.raises(httpx.ConnectError):
                await asyncio.to_thread(ask, OTHER)
            assert b"".join(heard) == b""
            assert await asyncio.to_thread(ask, pair.pin) == b'{"id":"ann"}'

    asyncio.run(story())


def test_a_fingerprint_is_of_the_first_certificate_as_openssl_prints_it(pair: Pair) -> None:
    text = pair.cert.read_text()
    first = text[text.index("-----BEGIN") : text.index("-----END CERTIFICATE-----") + 25]
    assert pair.pin == fingerprint(ssl.PEM_cert_to_DER_cert(first))
    assert pair.pin.startswith("sha256:") and len(pair.pin) == 71


def test_a_file_without_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(ValueError, match="no certificate"):
        file_fingerprint(tmp_path / "x.pem")
