"""Bytes that the kernel sends from pages of its own (sendfile), past the event loop's transport: nothing is copied.

From about 64 KiB on this costs less processor time than a write, from 1 MiB on less than half (docs/measurements.md). The head leaves in a
write of its own: as one segment with the pages the kernel would copy them. Only a plain TCP socket can do it, and only while the
transport holds nothing back; whatever the socket does not take at once is the transport's again.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

HAS_PAGES = hasattr(os, "memfd_create") and hasattr(os, "sendfile")
PAGES_BYTES_MIN = 64 * 1024


class Pages:
    """A file without a name, in memory; gone with this object. OSError where there can't be one more."""

    __slots__ = ("fd",)

    def __init__(self, data: bytes) -> None:
        self.fd = -1
        self.fd = os.memfd_create("minicdn", os.MFD_CLOEXEC)
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def plain_socket(transport: Any) -> int:
    """The descriptor that pages may be sent to; −1 where they can't: TLS, another system, no socket."""
    if not hasattr(os, "sendfile") or transport.get_extra_info("sslcontext") is not None:
        return -1
    sock = transport.get_extra_info("socket")
    return sock.fileno() if sock is not None else -1


def send_pages(transport: Any, fd: int, head: bytes, file: int, offset: int, count: int) -> int:
    """How much of the file the kernel took, behind the head, which is on its way in any case. What goes wrong with the socket the
    transport will meet, too, and deals with. Only while the transport's buffer is empty."""
    try:
        written = os.write(fd, head) if head else 0
    except OSError:
        written = 0
    if written < len(head):
        transport.write(head[written:])
        return 0
    try:
        return os.sendfile(fd, file, offset, count)
    except OSError:
        return 0


async def wait_writable(fd: int, seconds: float) -> None:
    """Until the socket takes more, or is gone. A duplicate is watched: the descriptor itself is the transport's. TimeoutError."""
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    watched = os.dup(fd)
    timer = loop.call_later(seconds, lambda: writable.done() or writable.set_exception(TimeoutError()))
    try:
        loop.add_writer(watched, lambda: writable.done() or writable.set_result(None))
        await writable
    finally:
        timer.cancel()
        loop.remove_writer(watched)
        os.close(watched)
