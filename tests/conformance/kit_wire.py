"""HTTP as octets, for those who must see them as they are: a client and what it receives."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

WAIT_SECONDS = 3.0
Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """What came over the wire. is_whole: the body ended where it was said to end. start: the first line."""

    start: bytes
    fields: Fields
    body: bytes = b""
    is_whole: bool = True
    interim: list[int] = field(default_factory=list)
    interim_fields: Fields = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    def line(self, name: str) -> str | None:
        """All lines of that name as one, None where there is none."""
        values = [value for own, value in self.fields if own.lower() == name.lower().encode()]
        return b", ".join(values).decode("latin-1") if values else None


def parse_head(raw: bytes) -> tuple[bytes, Fields]:
    start, *lines = raw.split(b"\r\n")
    pairs = [line.partition(b":") for line in lines if line]
    return start, [(name, value.strip(b" \t")) for name, _, value in pairs]


class Wire:
    """A client's connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=WAIT_SECONDS)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()

    def read(self, method: str = "GET") -> Message:
        """The next final response, interim ones noted. Raises EOFError where none comes."""
        interim: list[int] = []
        interim_fields: Fields = []
        while True:
            start, fields = parse_head(self._until(b"\r\n\r\n"))
            message = Message(start, fields, interim=interim, interim_fields=interim_fields)
            if message.status >= 200:
                break
            interim.append(message.status)
            interim_fields += fields
        if method != "HEAD" and message.status not in (204, 304):
            self._read_body(message)
        return message

    def is_ended(self) -> bool:
        """Whether the server closes without a further octet."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def read_rest(self) -> bytes:
        """Everything until the server closes."""
        data = self._buffer
        self._buffer = b""
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionError:
            pass
        return data

    def _more(self) -> bool:
        try:
            chunk = self.socket.recv(262144)
        except ConnectionError:
            chunk = b""
        self._buffer += chunk
        return bool(chunk)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not self._more():
                raise EOFError(f"the connection ended in a head: {self._buffer!r}")
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count and self._more():
            pass
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def _read_body(self, message: Message) -> None:
        length = message.line("content-length")
        if (message.line("transfer-encoding") or "").lower() == "chunked":
            self._read_chunks(message)
        elif length is not None:
            message.body = self._take(int(length))
            message.is_whole = len(message.body) == int(length)
        else:
            message.body = self._read_to_end(message)

    def _read_to_end(self, message: Message) -> bytes:
        data, self._buffer = self._buffer, b""
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionError:
            message.is_whole = False
        return data

    def _read_chunks(self, message: Message) -> None:
        try:
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                chunk = self._take(size)
                message.body += chunk
                if len(chunk) < size or self._take(2) != b"\r\n":
                    message.is_whole = False
                    return
            self._until(b"\r\n")
        except EOFError:
            message.is_whole = False


def is_like(message: Message, expected: str) -> bool:
    """Whether a field expectation (kit_rows.py) holds."""
    if expected.startswith("-"):
        return message.line(expected[1:]) is None
    if " ~ " in expected:
        name, _, pattern = expected.partition(" ~ ")
        return re.search(pattern, message.line(name) or "") is not None
    name, colon, value = expected.partition(":")
    found = message.line(name)
    return found is not None if not colon else found == value.strip(" ")
