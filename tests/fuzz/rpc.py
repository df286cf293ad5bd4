"""Messages of nodes with changed bodies, over HTTP to a running node. None that would have it connect elsewhere: no join."""

from __future__ import annotations

import random

from minicdn.wire.messages import Join, JoinAnswer, RenewAnswer
from tests.fuzz import heads
from tests.fuzz.messages import WORDS, readers
from tests.fuzz.mutations import mutate

TARGETS = ("renew", "leave", "lease", "accuse", "log", "get", "pieces", "purge", "load")
NOT_SENT = (Join.from_wire, JoinAnswer.from_wire, RenewAnswer.from_wire)


def connections(seed: int, count: int) -> list[list[bytes]]:
    rng, bodies = random.Random(seed), [octets for octets, read in readers() if read not in NOT_SENT]
    return [[_request(rng, bodies) for _ in range(rng.choice((1, 2, 3, 4)))] for _ in range(count)]


def _request(rng: random.Random, bodies: list[bytes]) -> bytes:
    body = mutate(rng, rng.choice(bodies), WORDS)
    target = rng.choice(TARGETS).encode()
    head = b"POST /_rpc/%b HTTP/1.1\r\nHost: h\r\nContent-Type: application/msgpack\r\nContent-Length: %d\r\n\r\n" % (target, len(body))
    return head + body


class RpcFuzzing(heads.Fuzzing):
    connections = staticmethod(connections)
