"""What is right, made wrong: a few random changes, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence


def mutate(rng: random.Random, data: bytes, words: Sequence[bytes], *, changes_max: int = 4) -> bytes:
    """words: what is put in, besides random octets."""
    found = bytearray(data)
    for _ in range(rng.randint(1, changes_max)):
        at = rng.randrange(len(found) + 1)
        until = min(len(found), at + int(rng.expovariate(0.15)))
        match rng.randrange(8):
            case 0:
                found[at:at] = rng.choice(words)
            case 1:
                found[at:until] = rng.choice(words)
            case 2:
                del found[at:until]
            case 3:
                found[at:at] = found[at:until] * rng.choice((1, 1, 2, 30))
            case 4:
                found[at:until] = rng.randbytes(until - at)
            case 5 if found:
                found[at % len(found)] ^= 1 << rng.randrange(8)
            case 6:
                other = rng.randrange(len(found) + 1)
                found[at:at] = found[other : other + 40]
            case 7 if rng.random() < 0.3:
                del found[at:]
    return bytes(found)
