"""Bytes that the kernel sends from pages of its own (sendfile), past the event loop's transport: nothing is copied.

How much that saves is the kernel's affair, and the client's: from 64 KiB on it is something, at 256 KiB a third (docs/measurements.md).
A head that leaves in a write of its own is a packet of its own, which costs what is saved on a body of 100 KiB: so a small body's
pages begin with the head. Only a plain TCP socket can do it, and only while the transport holds nothing back; whatever the socket does
not take at once is the transport's again.
"""

from __future__ import annotations

import os
from typing import Any

HAS_PAGES = hasattr(os, "memfd_create") and hasattr(os, "sendfile")
PAGES_BYTES_MIN = 64 * 1024
HEADED_BYTES_MAX = 256 * 1024
"""Up to this size a body's pages begin with the head. An answer's head says its Age, so that these are made anew each second: pages that
the kernel still sends must not be written to."""


class Room:
    """For how many Pages there is room: each is a descriptor."""

    __slots__ = ("left_count",)

    def __init__(self, count_max: int) -> None:
        self.left_count = count_max


class Pages:
    """A file without a name, in memory; gone with this object. OSError where there can't be one more."""

    __slots__ = ("_room", "fd")

    def __init__(self, room: Room, *parts: bytes) -> None:
        self.fd = -1
        self._room = room
        self.fd = os.memfd_create("minicdn", os.MFD_CLOEXEC)
        room.left_count -= 1
        for data in parts:
            view = memoryview(data)
            while view:
                view = view[os.write(self.fd, view) :]

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self._room.left_count += 1


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


def send_file(fd: int, file: int, offset: int, count: int) -> int:
    """How much of the file the socket took: 0 where it is full, or the file ends there. OSError where it is gone."""
    try:
        return os.sendfile(fd, file, offset, count)
    except BlockingIOError:
        return 0
