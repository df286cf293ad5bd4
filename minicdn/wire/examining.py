"""A look at any server, for a person who wants to know why something does not work: one GET by a connection of its own, within a deadline,
and in one word what was in the way.

Redirects are not followed, nothing is decoded, no proxy is used. The body is read as far as it is wanted, and the connection then cut.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpx

from minicdn import __version__
from minicdn.core.message import Fields
from minicdn.wire.threads import in_thread
from minicdn.wire.tls import WrongCertificate


class NotSeen(Exception):
    """kind: `name` (does not resolve), `refused`, `unreachable`, `no connection` (within the deadline), `certificate` (not to be trusted),
    `fingerprint` (another one), `tls`, `silent`, `cut` (it hung up), `no http`, `url`. The text is a library's, for a person."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Looked:
    """version: such as HTTP/1.1. request_at, response_at: wall seconds around the wait for the head; seconds: of that wait, the connection
    included. certificate: as the ssl module decodes one that was verified, else None."""

    status: int
    fields: Fields
    body: bytes
    version: str
    request_at: float
    response_at: float
    seconds: float
    certificate: dict[str, Any] | None


async def resolve(host: str, port: int, seconds: float) -> list[str]:
    """The host's addresses. In a thread, as the system's answer may be minutes away. Raises NotSeen."""
    with suppress(ValueError):
        return [str(ip_address(host))]
    try:
        async with asyncio.timeout(seconds):
            found = await in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise NotSeen("name", f"no answer about {host} within {seconds:g} s") from None
    except (OSError, UnicodeError) as error:
        raise NotSeen("name", getattr(error, "strerror", None) or str(error)) from None
    return list(dict.fromkeys(str(address[4][0]) for address in found))


async def look(
    url: str, *, seconds: float, context: ssl.SSLContext | None = None, fields: Sequence[tuple[bytes, bytes]] = (), bytes_max: int = 0
) -> Looked:
    """context: for https, whom to trust; None: any certificate. seconds: for the connection, and as much again for all the rest.
    bytes_max: so much of the body is read. Raises NotSeen."""
    try:
        async with asyncio.timeout(2 * seconds):
            async with httpx.AsyncClient(verify=context or False, trust_env=False, timeout=seconds) as client:
                return await _look(client, url, fields, bytes_max)
    except TimeoutError:
        raise NotSeen("silent", f"no answer within {2 * seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise _said(error, seconds) from None


async def _look(client: httpx.AsyncClient, url: str, fields: Sequence[tuple[bytes, bytes]], bytes_max: int) -> Looked:
    client.headers.clear()
    named = [(b"User-Agent", f"minicdn/{__version__}".encode()), (b"Accept", b"*/*"), *fields]
    request_at, began_at = time.time(), time.monotonic()
    async with client.stream("GET", url, headers=named, follow_redirects=False) as answer:
        response_at, seconds = time.time(), time.monotonic() - began_at
        version = bytes(answer.extensions.get("http_version", b"")).decode("latin-1")
        body = bytearray()
        if bytes_max:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) >= bytes_max:
                    break
        certificate = _certificate(answer)
        return Looked(
            answer.status_code, answer.headers.raw, bytes(body[:bytes_max]), version, request_at, response_at, seconds, certificate
        )


def _certificate(answer: httpx.Response) -> dict[str, Any] | None:
    stream = answer.extensions.get("network_stream")
    made = stream.get_extra_info("ssl_object") if stream is not None else None
    found = made.getpeercert() if made is not None else None
    return dict(found) if found else None


def _said(error: Exception, seconds: float) -> NotSeen:
    """What was the matter is some causes deep."""
    causes: list[BaseException] = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 16:
        causes.append(deeper)
    for cause in reversed(causes):
        found = _by_cause(cause)
        if found is not None:
            return found
    if isinstance(error, httpx.ConnectTimeout):
        return NotSeen("no connection", f"no connection within {seconds:g} s")
    if isinstance(error, httpx.TimeoutException):
        return NotSeen("silent", f"no answer within {seconds:g} s")
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return NotSeen("url", text)
    if isinstance(error, httpx.RemoteProtocolError) and "without sending" not in text:
        return NotSeen("no http", text)
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return NotSeen("unreachable", text) if isinstance(error, httpx.ConnectError) else NotSeen("cut", "it hung up")
    return NotSeen("no http", text)


def _by_cause(cause: BaseException) -> NotSeen | None:
    if isinstance(cause, WrongCertificate):
        return NotSeen("fingerprint", str(cause))
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NotSeen("certificate", cause.verify_message.rstrip("."))
    if isinstance(cause, ssl.SSLError):
        return NotSeen("tls", (cause.reason or str(cause)).replace("_", " ").lower())
    if isinstance(cause, socket.gaierror):
        return NotSeen("name", cause.strerror or str(cause))
    if isinstance(cause, ConnectionRefusedError):
        return NotSeen("refused", "connection refused")
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return NotSeen("cut", "it hung up")
    if isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EADDRNOTAVAIL):
        return NotSeen("unreachable", cause.strerror or str(cause))
    return None
