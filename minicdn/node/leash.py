"""Waits for a peer that end when the peer leaves the list, or is found not to be there (node/circuits.py).

A frozen laptop accepts connections and says nothing. Its askers have a deadline of their own, but what shows that it is gone comes
earlier, and then there is nothing left to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

from minicdn.errors import PeerError


class Leash:
    """Waits under way, by the peer's URL. on_hold: called when somebody begins to wait."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Hold | Kept, None]] = {}
        self.on_hold: Callable[[], None] = lambda: None

    def hold(self, url: str) -> Hold:
        """`with leash.hold(url):` what is awaited within raises PeerError when the peer at `url` is let go."""
        self.on_hold()
        return Hold(self._held, url)

    def keep(self, url: str, act: Callable[[], None]) -> Kept:
        """The same for a wait without a task: until it has ended, `act` is called when the peer at `url` is let go."""
        self.on_hold()
        return Kept(self._held, url, act)

    def let_go(self, urls: Set[str]) -> None:
        """These peers are off the list, or else of no use."""
        for url in urls:
            for hold in list(self._held.get(url, ())):
                hold.let_go()

    def waits(self, url: str) -> Set[Hold | Kept]:
        """Those for this peer."""
        return self._held.get(url, {}).keys()

    def urls(self) -> Set[str]:
        """Whom somebody waits for."""
        return self._held.keys()


class Hold:
    """As asyncio.timeout does it, but for the time: the task is cancelled, and the cancellation taken back where it ends the block."""

    __slots__ = ("_cancelling_count", "_held", "_is_let_go", "_task", "_url")

    def __init__(self, held: dict[str, dict[Hold | Kept, None]], url: str) -> None:
        self._held, self._url = held, url
        self._is_let_go = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling_count = task, task.cancelling()
        self._held.setdefault(self._url, {})[self] = None

    def let_go(self) -> None:
        if not self._is_let_go:
            self._is_let_go = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        _forget(self._held, self._url, self)
        if self._is_let_go and self._task.uncancel() <= self._cancelling_count and kind is asyncio.CancelledError:
            raise PeerError(f"{self._url} has left the list, or does not answer") from None


class Kept:
    """A wait without a task. End it, always."""

    __slots__ = ("_act", "_held", "_url", "is_let_go")

    def __init__(self, held: dict[str, dict[Hold | Kept, None]], url: str, act: Callable[[], None]) -> None:
        self._held, self._url, self._act = held, url, act
        self.is_let_go = False
        held.setdefault(url, {})[self] = None

    def let_go(self) -> None:
        if not self.is_let_go:
            self.is_let_go = True
            self._act()

    def end(self) -> None:
        """Idempotent."""
        _forget(self._held, self._url, self)


def _forget(held: dict[str, dict[Hold | Kept, None]], url: str, hold: Hold | Kept) -> None:
    holds = held.get(url, {})
    holds.pop(hold, None)
    if not holds:
        held.pop(url, None)
