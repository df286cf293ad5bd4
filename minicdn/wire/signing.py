"""The one place where a node's messages to others are signed, and the answers to them checked (core/signing.py says how)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from minicdn.core.headers import first
from minicdn.core.message import Fields
from minicdn.core.signing import ANSWER_FIELD, Keys, Question, is_answer, sign

AUDIENCES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class Signed:
    """field: the Authorization field's value. is_mine: whether an answer with this status, its bytes and fields is one to the question."""

    field: bytes
    _keys: Keys
    _mac: bytes

    def is_mine(self, status: int, data: bytes, fields: Fields) -> bool:
        return is_answer(self._keys, self._mac, status, data, first(fields, ANSWER_FIELD))


class Signer:
    """One for a process: it numbers what is said to each receiver. wall: the clock, in seconds since 1970."""

    def __init__(self, token: str, wall: Callable[[], float]) -> None:
        self._keys = Keys.of(token)
        self._wall = wall
        self._begin()

    def _begin(self) -> None:
        self._sender = secrets.token_hex(8).encode()
        self._numbers: dict[str, int] = {}

    def sign(self, audience: str, method: str, target: bytes, body: bytes = b"") -> Signed:
        """audience, target: core/signing.py's Question."""
        if len(self._numbers) > AUDIENCES_MAX:
            self._begin()
        number = self._numbers[audience] = self._numbers.get(audience, 0) + 1
        made = sign(self._keys, Question(audience, method, target, body), int(self._wall() * 1000), self._sender, number)
        return Signed(made.to_field(), self._keys, made.mac)
