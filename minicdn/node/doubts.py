"""What a swarm has heard against pieces and peers, and when it is enough.

One peer's word that the upstream can't be asked, or has another version, may be that peer's fault alone: others are asked. What this node
has found out by itself is so.
"""

from __future__ import annotations

VOICES_MAX = 3
"""Word of so many that the upstream can't be asked for a piece, and it is believed."""
FAILURES_MAX = 8
"""Where there are not so many: so often, for one piece."""
CHANGED_VOICES_MAX = 2
REFUSALS_MAX = 32
"""In a row, without a piece: who is only busy gives something now and then; who refers for ever is as good as gone."""
VAIN_SECONDS = 20.0
"""Nothing has come for so long, and nothing is under way: nobody is left who could help. Longer than it takes until who is gone is off
the list."""


class Doubts:
    def __init__(self) -> None:
        self._voices: dict[int, dict[str | None, int]] = {}
        self._changed_by: set[str] = set()
        self._givers: dict[int, set[str]] = {}
        self._refusals: dict[str, int] = {}

    def upstream_failed(self, index: int, url: str | None) -> bool:
        """Somebody could not get a piece from the upstream. True: nobody can."""
        voices = self._voices.setdefault(index, {})
        voices[url] = voices.get(url, 0) + 1
        return len(voices) >= VOICES_MAX or sum(voices.values()) >= FAILURES_MAX

    def forget(self, index: int) -> None:
        """It is asked for anew."""
        self._voices.pop(index, None)

    def is_changed(self, url: str) -> bool:
        """A peer says that there is another version. True: it is so."""
        self._changed_by.add(url)
        return len(self._changed_by) >= CHANGED_VOICES_MAX

    def gave(self, index: int, url: str) -> None:
        """Bytes of a piece came from that peer."""
        self._refusals.pop(url, None)
        self._givers.setdefault(index, set()).add(url)

    def refused(self, url: str) -> bool:
        """Asked for a piece, a peer named others. True: as it always does."""
        self._refusals[url] = self._refusals.get(url, 0) + 1
        return self._refusals[url] > REFUSALS_MAX

    def settle(self, index: int) -> set[str]:
        """The piece is verified, or begins again from nothing. Returns whose bytes it was made of."""
        return self._givers.pop(index, set())
