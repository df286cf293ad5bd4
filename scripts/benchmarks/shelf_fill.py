"""A shelf filled with small objects, in a process of its own: `python -m scripts.benchmarks.shelf_fill OBJECTS BUDGET_BYTES`.

Prints JSON: what an object takes beyond its body, by the process's memory and as the shelf counts it; and the longest time, in processor
seconds, that one object took to come in, with evictions and the collector's pauses in it.
"""

from __future__ import annotations

import json
import os
import sys
import time

from minicdn.core.counters import Counters
from minicdn.core.freshness import Policy, Stored, storable
from minicdn.core.message import Head, Request
from minicdn.loops import settle_collector
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf
from scripts.benchmarks.figures import memory_bytes

BODY_BYTES = 100
_HEAD = """Server: nginx/1.22.1
Date: Tue, 21 Nov 2023 00:00:00 GMT
Content-Type: application/octet-stream
Content-Length: 100
Last-Modified: Tue, 21 Nov 2023 00:%(minute)02d:00 GMT
ETag: "655bf%(number)x-64"
Cache-Control: max-age=86400
Accept-Ranges: bytes"""


def main(objects: int, budget_bytes: int) -> dict[str, float]:
    counters = Counters()
    shelf = Shelf(memory_bytes=budget_bytes, disk_bytes=0, small_bytes=1 << 20, cache_dir=None, counters=counters)
    settle_collector()
    before, longest_seconds = memory_bytes(os.getpid()), 0.0
    for number in range(objects):
        began_at = time.thread_time()
        _add(shelf, number)
        longest_seconds = max(longest_seconds, time.thread_time() - began_at)
    kept = shelf.statistics()["memory_entries_count"]
    counted = shelf.statistics()["memory_main_bytes"]
    taken = memory_bytes(os.getpid()) - before
    return {
        "kept_count": kept,
        "evictions_count": counters.values["evictions_count"],
        "taken_each_bytes": taken / kept - BODY_BYTES,
        "counted_each_bytes": counted / kept - BODY_BYTES,
        "longest_seconds": longest_seconds,
    }


def _add(shelf: Shelf, number: int) -> None:
    key = f"/folder/file-{number:07}.txt"
    lines = (_HEAD % {"minute": number % 60, "number": number}).split("\n")
    fields = [(name.encode(), value.encode()) for name, _, value in (line.partition(": ") for line in lines)]
    stored = storable(Request("GET", key.encode(), key, ()), Head(200, fields), 1.7e9, 1.7e9, Policy())
    assert isinstance(stored, Stored)
    entry = Entry(key, stored.head, stored, shelf.new_body(key, BODY_BYTES))
    shelf.begin(entry)
    entry.body.write(0, bytes(bytearray(BODY_BYTES)))
    entry.body.finish()
    shelf.keep(entry)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
