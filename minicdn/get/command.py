"""`minicdn get` from its wish to its report: sources, download, digest, name; and what ends it early."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicdn.errors import Interrupted, MinicdnError, OperatorError, SourcesFailed, TargetUnwritable, UsageError
from minicdn.get.asking import Asker
from minicdn.get.download import Download
from minicdn.get.partfile import PartFile
from minicdn.get.sources import find_sources
from minicdn.get.streamed import Streamed
from minicdn.get.tally import Tally, progress_line
from minicdn.get.target import Target
from minicdn.get.wish import STDOUT, Wish

PROGRESS_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Order:
    """output: a file, a folder, `-` for standard output, or None for the path's last segment. timeout_seconds: for all of it."""

    wish: Wish
    output: str | None = None
    sha256: bytes | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Sayings:
    """progress: takes a line that the next one overwrites; None where nobody looks. note: takes a line worth keeping."""

    progress: Callable[[str], None] | None
    note: Callable[[str], None]


async def run(order: Order, sayings: Sayings) -> dict[str, Any]:
    """The report, also where it is cancelled; its `exit_code` is 0 where the file is there. Raises UsageError, and BrokenPipeError where
    nobody reads the output."""
    return await _Run(order, sayings).run()


class _Run:
    def __init__(self, order: Order, sayings: Sayings) -> None:
        self._order, self._sayings = order, sayings
        self._tally = Tally()
        self._began_at = time.monotonic()
        self._target: Target | None = None
        self._sha256: bytes | None = None

    async def run(self) -> dict[str, Any]:
        error: OperatorError | None = None
        stop: tuple[type[OperatorError], str] | None = None
        asker = Asker(self._order.wish.pins)
        try:
            self._target = _target_of(self._order)
            async with asyncio.timeout(self._order.timeout_seconds):
                await self._get(self._target, asker)
        except UsageError:
            raise
        except TargetUnwritable as found:
            stop = TargetUnwritable, str(found)
        except OperatorError as found:
            error = found
        except TimeoutError:
            stop = SourcesFailed, f"not done within {self._order.timeout_seconds:g} s"
        except asyncio.CancelledError:
            stop = Interrupted, "stopped"
        except MinicdnError as found:
            error = SourcesFailed(str(found))
        finally:
            with suppress(asyncio.CancelledError):
                if self._target is not None:
                    if self._sayings.progress is not None and self._sha256 is None and self._kept():
                        self._sayings.progress("writing down what is there; Ctrl-C again to stop now")
                    await self._target.close()
            await asker.close()
        if stop is not None:  # what is kept is known once the target is closed
            kind, text = stop
            error = kind(text + self._kept())
        return self._report(error)

    async def _get(self, target: Target, asker: Asker) -> None:
        self._tally.resumed_bytes = target.load()
        tasks = [asyncio.create_task(target.keep_saving()), asyncio.create_task(self._show())]
        try:
            sources = await find_sources(self._order.wish, asker)
            self._tally.peers = frozenset(peer.url for peer in sources.peers)
            download = Download(sources, target, asker, self._tally, self._sayings.note)
            length = await download.run()
            self._sha256 = await target.sha256(length)
            download.verify(self._sha256, self._order.sha256)
            await target.commit(length)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _show(self) -> None:
        while self._sayings.progress is not None and self._target is not None:
            await asyncio.sleep(PROGRESS_SECONDS)
            held = self._target.held.total_bytes
            speed = max(held - self._tally.resumed_bytes, 0) / self._seconds
            self._sayings.progress(progress_line(self._order.wish.name, held, self._target.length, speed, self._tally))

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self._began_at, 1e-6)

    def _kept(self) -> str:
        """What a person may want to know when it ended too early."""
        if not isinstance(self._target, PartFile) or self._target.validator is None or not self._target.held:
            return ""
        return f"; {self._target.held.total_bytes} bytes are kept, and the same command goes on from there"

    def _report(self, error: OperatorError | None) -> dict[str, Any]:
        target, tally = self._target, self._tally
        return {
            "url": self._order.wish.shown,
            "file": target.shown if target is not None else None,
            "bytes": target.held.total_bytes if target is not None else 0,
            "seconds": round(self._seconds, 3),
            "sha256": self._sha256.hex() if self._sha256 is not None else None,
            **tally.as_json(),
            "exit_code": error.exit_code if error is not None else 0,
            "error": str(error) if error is not None else None,
        }


def _target_of(order: Order) -> Target:
    output = order.output
    if output == STDOUT:
        return Streamed(sys.stdout.fileno())
    path = Path(output) if output else Path(order.wish.name)
    if output and (path.is_dir() or output.endswith(("/", os.sep))):
        path = path / order.wish.name
    if not path.name or (not order.wish.name and (not output or path.is_dir())):
        raise UsageError("the path has no last segment to name the file after; give -o FILE")
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file():  # a device or a pipe, which nothing may replace
        return Streamed(os.open(path, os.O_WRONLY), str(path))
    return PartFile(path, order.wish.identity)
