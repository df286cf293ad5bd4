"""Leases: who may ask the upstream for a file as a last resort, when its owners and holders have failed.

When an owner dies, everybody who waits for it sees it at once, and all of them would turn to the upstream. At most `count_max` nodes
of the cluster hold a lease of one key; the others wait for them, or take from them. A lease that nobody gives back ends by itself, so
a dead holder blocks nobody for longer than `ttl_seconds`.
"""

from __future__ import annotations

from minicdn.core.value import value_class

LEASES_MAX = 65536
"""Beyond this the oldest is forgotten: one more request to the upstream is better than a file that can't be had."""


@value_class
class Verdict:
    """holders: of the key's leases, the asker included where it was granted one. seconds: until the asker's own ends, or until it
    may ask again at the latest."""

    is_granted: bool
    holders: tuple[str, ...]
    seconds: float


class Leases:
    """Instants are the manager's monotonic seconds. All leases last equally long, so they end in the order in which they were taken."""

    def __init__(self, count_max: int = 2, ttl_seconds: float = 300.0, leases_max: int = LEASES_MAX) -> None:
        self._count_max = count_max
        self._ttl_seconds = ttl_seconds
        self._leases_max = leases_max
        self._ends_at: dict[tuple[str, str], float] = {}
        self._holders: dict[str, dict[str, None]] = {}

    def take(self, key: str, holder: str, now: float, *, is_kept: bool = True) -> Verdict:
        """Who holds one already, holds it for longer. is_kept: False for a word only, which nobody has to give back."""
        self.expire(now)
        held = self._holders.get(key, {})
        if holder not in held and len(held) >= self._count_max:
            first_ends_at = min((self._ends_at[key, other] for other in held), default=now + self._ttl_seconds)
            return Verdict(False, tuple(held), first_ends_at - now)
        if not is_kept:
            return Verdict(True, tuple(held), 0.0)
        self.release(key, holder)
        self._ends_at[key, holder] = now + self._ttl_seconds
        self._holders.setdefault(key, {})[holder] = None
        if len(self._ends_at) > self._leases_max:
            self.release(*next(iter(self._ends_at)))
        return Verdict(True, tuple(self._holders.get(key, ())), self._ttl_seconds)

    def release(self, key: str, holder: str) -> bool:
        """False: there was none."""
        if self._ends_at.pop((key, holder), None) is None:
            return False
        held = self._holders[key]
        del held[holder]
        if not held:
            del self._holders[key]
        return True

    def release_all(self, holder: str) -> None:
        """Of a node that is gone."""
        for key in [key for key, other in self._ends_at if other == holder]:
            self.release(key, holder)

    def expire(self, now: float) -> None:
        """Ends what has run out."""
        while self._ends_at:
            lease, ends_at = next(iter(self._ends_at.items()))
            if ends_at > now:
                return
            self.release(*lease)

    def __len__(self) -> int:
        return len(self._ends_at)
