"""Many clients at once who compare each byte: what they ask, what they see, and when.

A client asks one peer, or the manager and then the peer that it names. What it saw is one word: "" for a whole right answer, else what was
wrong with it. WRONG is never excused.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.parse import urlsplit

from tests.kit.asking import open_answer
from tests.kit.files import MIB, bytes_of
from tests.kit.nginx import Nginx

WRONG = "wrong bytes"
BLOCK_BYTES = 256 * 1024
DEADLINE_SECONDS = 30.0


class Files:
    """Small and large ones on the upstream. A query makes a cold one of any: the upstream does not look at it."""

    def __init__(self, nginx: Nginx, *, small_count: int = 120, large_count: int = 8, large_share: float = 0.06) -> None:
        self._small = [self._put(nginx, f"small-{n}.bin", 2000 + 480 * n) for n in range(small_count)]
        self._large = [self._put(nginx, f"large-{n}.bin", 5 * MIB + n * 900_000) for n in range(large_count)]
        self._large_share = large_share
        self.versions_count = 3

    def _put(self, nginx: Nginx, name: str, size_bytes: int) -> tuple[str, memoryview]:
        content = bytes_of(name, size_bytes)
        return nginx.put(name, content), memoryview(content)

    def pick(self, rng: random.Random) -> tuple[str, memoryview]:
        path, content = rng.choice(self._large if rng.random() < self._large_share else self._small)
        return f"{path}?v={rng.randrange(self.versions_count)}", content

    def all(self) -> list[tuple[str, memoryview]]:
        return [*self._small, *self._large]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. url: of the node that answered, or should have."""

    url: str
    target: str
    began_at: float
    ended_at: float
    wrong: str
    size_bytes: int = 0
    status: int = 0

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at


@dataclass
class Figures:
    """Of some requests."""

    seen: list[Seen] = field(default_factory=list)

    @property
    def errors(self) -> Counter[str]:
        return Counter(one.wrong for one in self.seen if one.wrong)

    @property
    def errors_count(self) -> int:
        return sum(self.errors.values())

    def seconds_at(self, share: float) -> float:
        ordered = sorted(one.seconds for one in self.seen)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def line(self) -> str:
        what = ", ".join(f"{count} × {wrong}" for wrong, count in self.errors.most_common(5)) or "none"
        megabytes = sum(one.size_bytes for one in self.seen) / 1e6
        return (
            f"{len(self.seen)} requests, {megabytes:.0f} MB, errors: {what}; "
            f"p50 {self.seconds_at(0.5):.3f} s, p99 {self.seconds_at(0.99):.2f} s, slowest {self.seconds_at(1.0):.2f} s"
        )


class Load:
    """`with Load(files, choose, clients=16) as load`. choose: the URL that a client asks; pause_seconds: between two requests of one.
    enter: what each client's thread does first."""

    def __init__(
        self,
        files: Files,
        choose: Callable[[random.Random], str],
        *,
        clients: int = 16,
        seed: int = 1,
        pause_seconds: float = 0.01,
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        self._files, self._choose, self._pause_seconds, self._enter = files, choose, pause_seconds, enter
        self._threads = [threading.Thread(target=self._run, args=(random.Random(f"{seed} {n}"),)) for n in range(clients)]
        self._is_over = threading.Event()
        self.seen: list[Seen] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def between(self, start_at: float, end_at: float, urls: Sequence[str] | None = None) -> Figures:
        """Those that began then, at these nodes."""
        seen = list(self.seen)
        return Figures([one for one in seen if start_at <= one.began_at < end_at and (urls is None or one.url in urls)])

    def _run(self, rng: random.Random) -> None:
        self._enter()
        while not self._is_over.is_set():
            target, content = self._files.pick(rng)
            self.seen.append(fetch(self._choose(rng), target, content))
            self._is_over.wait(self._pause_seconds * rng.random() * 2)


def fetch(url: str, target: str, content: memoryview) -> Seen:
    began_at = time.monotonic()
    size_bytes = status = 0
    try:
        answer = open_answer(url, target, deadline_seconds=DEADLINE_SECONDS)
        if answer.status == 302:
            location = urlsplit(next(value for name, value in answer.fields if name.lower() == "location"))
            answer.close()
            url = f"{location.scheme}://{location.netloc}"
            answer = open_answer(url, target, deadline_seconds=DEADLINE_SECONDS)
        with answer:
            status = answer.status
            wrong = "" if status == 200 else f"status {status}: {answer.read(200).decode('utf-8', 'replace').strip()}"
            while status == 200 and (block := answer.read(BLOCK_BYTES)):
                if content[size_bytes : size_bytes + len(block)] != block:
                    wrong = WRONG
                    break
                size_bytes += len(block)
            if not wrong and size_bytes != len(content):
                wrong = WRONG if size_bytes > len(content) else "cut"
    except HTTPException as error:
        wrong = f"cut ({type(error).__name__})"
    except OSError as error:
        wrong = type(error).__name__
    return Seen(url, target, began_at, time.monotonic(), wrong, size_bytes, status)
