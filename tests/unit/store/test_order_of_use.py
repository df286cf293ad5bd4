"""Who leaves a memory cache first: beside a plain list, in a thousand random steps."""

from __future__ import annotations

import random

from minicdn.core.message import Head
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.memory import MemoryStorage
from minicdn.store.memorycache import EntryCache


def entry_of(number: int, cost: int) -> Entry:
    return Entry(f"/{number}", Head(200, ()), None, Body(MemoryStorage(0), 0), memory_cost_bytes=cost)


def test_the_least_recently_used_leaves() -> None:
    rng, evicted, expected = random.Random(4), [], []
    cache, other = EntryCache(100, evicted.append), EntryCache(100, evicted.append)
    inside: list[Entry] = []
    for number in range(1000):
        step, chosen = rng.random(), rng.choice(inside) if inside else None
        if step < 0.3 and chosen is not None:
            cache.touch(chosen)
            inside.remove(chosen)
            inside.append(chosen)
        elif step < 0.4 and chosen is not None:
            cache.discard(chosen)
            cache.discard(chosen)
            cache.touch(chosen)
            other.discard(chosen)
            inside.remove(chosen)
        else:
            new = entry_of(number, rng.randint(1, 40))
            while sum(each.memory_cost_bytes for each in inside) + new.memory_cost_bytes > 100:
                expected.append(inside.pop(0))
            cache.add(new)
            inside.append(new)
        assert list(cache) == inside
        assert (len(cache), cache.currsize) == (len(inside), sum(each.memory_cost_bytes for each in inside))
        assert all(each in cache and each not in other for each in inside)
    assert evicted == expected
    assert len(evicted) > 100
    assert all(each not in cache and each.older is None is each.newer for each in evicted)
