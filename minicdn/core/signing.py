"""How a message proves that its sender knows the token, without the token: HMAC-SHA256 (RFC 2104) over all that must not be changed.

    Authorization: Minicdn 1.<milliseconds>.<sender>.<number>.<mac>

The number grows with each message of a sender to one receiver (replay.py). An answer carries a MAC over the question's MAC, its status and
its bytes, so that it answers this question and no other. Questions and answers have keys of their own: no answer can pass for a question.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

from minicdn.core.value import value_class

TOKEN_LENGTH_MIN = 16
SKEW_SECONDS = 300.0
"""By so much a clock may differ from the manager's."""
SCHEME = b"Minicdn "
ANSWER_FIELD = b"x-minicdn-answer"
MANAGER = "manager"
"""Whom a message to the manager is for: it goes by several names."""
ANYBODY = "*"
"""For a look from the command line, which may call a node by any name; for GET alone."""
_CREDENTIALS = re.compile(rb"Minicdn 1\.([0-9]{1,15})\.([0-9a-f]{16})\.([0-9]{1,15})\.([0-9a-f]{64})", re.IGNORECASE)


@value_class
class Keys:
    """Derived from the token. Not to be shown."""

    questions: bytes
    answers: bytes
    bearer: bytes

    def __repr__(self) -> str:
        return "Keys(…)"

    @classmethod
    def of(cls, token: str) -> Keys:
        raw = token.encode()
        labels = (b"minicdn questions 1", b"minicdn answers 1", b"minicdn bearer 1")
        return cls(*(hmac.digest(raw, label, "sha256") for label in labels))

    def is_token(self, given: bytes) -> bool:
        """In a time that tells nothing of the token, its length included."""
        return hmac.compare_digest(hmac.digest(given, b"minicdn bearer 1", "sha256"), self.bearer)


@value_class
class Question:
    """What is signed besides time, sender and number. audience: MANAGER, a peer's URL, or ANYBODY. target: as on the request line."""

    audience: str
    method: str
    target: bytes
    body: bytes = b""


@value_class
class Credentials:
    """at_ms: milliseconds since 1970 by the sender's clock."""

    at_ms: int
    sender: bytes
    number: int
    mac: bytes

    def to_field(self) -> bytes:
        return b"%b1.%d.%b.%d.%b" % (SCHEME, self.at_ms, self.sender, self.number, self.mac)

    @classmethod
    def parse(cls, value: bytes) -> Credentials | None:
        match = _CREDENTIALS.fullmatch(value)
        if match is None:
            return None
        return cls(int(match[1]), match[2].lower(), int(match[3]), match[4].lower())


def sign(keys: Keys, question: Question, at_ms: int, sender: bytes, number: int) -> Credentials:
    return Credentials(at_ms, sender, number, _mac(keys, question, at_ms, sender, number))


def is_signed(keys: Keys, question: Question, found: Credentials) -> bool:
    """Whether the MAC is right; nothing is said of time and number yet."""
    return hmac.compare_digest(_mac(keys, question, found.at_ms, found.sender, found.number), found.mac)


def sign_answer(keys: Keys, question_mac: bytes, status: int, data: bytes) -> bytes:
    """data: all of a short answer, or the head of one with bytes."""
    return _hex(keys.answers, b"%b\n%d\n%b" % (question_mac, status, sha256(data).digest()))


def is_answer(keys: Keys, question_mac: bytes, status: int, data: bytes, found: bytes | None) -> bool:
    return found is not None and hmac.compare_digest(sign_answer(keys, question_mac, status, data), found)


def _mac(keys: Keys, question: Question, at_ms: int, sender: bytes, number: int) -> bytes:
    """No part but the last can hold a line's end: method and target come from a request line, the audience is a URL."""
    said = b"%b\n%b\n%b\n%d\n%b\n%d\n%b" % (
        question.audience.encode(), question.method.encode(), question.target, at_ms, sender, number, sha256(question.body).digest(),
    )  # fmt: skip
    return _hex(keys.questions, said)


def _hex(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256").hex().encode()
