"""Clients that send a byte of their request each second, and come again when they are sent away."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

REQUEST = b"GET /small-1.bin HTTP/1.1\r\nHost: h\r\nX-Slow: " + b"x" * 1_000_000


class Loris:
    """`with Loris(port, 1000) as loris`. again_count: connections that had ended and were made anew."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._said: dict[socket.socket, int] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.again_count = 0

    def __enter__(self) -> Loris:
        for _ in range(self._count):
            self._connect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for one in self._said:
            one.close()

    @property
    def open_count(self) -> int:
        return len(self._said)

    def _connect(self) -> None:
        with suppress(OSError):
            one = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            one.setblocking(False)
            self._said[one] = 0

    def _run(self) -> None:
        while not self._is_over.wait(1.0):
            for one, at in list(self._said.items()):
                if self._has_ended(one, at):
                    del self._said[one]
                    one.close()
                    self.again_count += 1
                    self._connect()
                else:
                    self._said[one] = at + 1

    def _has_ended(self, one: socket.socket, at: int) -> bool:
        try:
            one.send(REQUEST[at : at + 1])
            return not one.recv(1000)
        except BlockingIOError:
            return False
        except OSError:
            return True
