"""What a manager says to its peers about preheats, as values (calling.py says it).

load    manager → peer   have this file there. Held until it is, for as long as the call allows; asked again, it goes on. Who is not
                         asked again gives up (node/preheating.py)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minicdn.core.message import Fields
from minicdn.core.preheat import FIELDS_MAX, REASON_CHARACTERS_MAX, check_fields
from minicdn.core.target import TARGET_BYTES_MAX
from minicdn.errors import ClientError
from minicdn.wire.codec import Taker

HOLD_SECONDS_MAX = 30.0
LOADING, DONE, FAILED, BUSY = "loading", "done", "failed", "busy"
_STATES = (LOADING, DONE, FAILED, BUSY)


@dataclass(frozen=True, slots=True)
class LoadCall:
    """target: as the upstream is asked for it. fields: of the request. is_over: nobody wants it any more."""

    target: str
    fields: Fields = ()
    hold_seconds: float = 0.0
    is_over: bool = False

    def to_wire(self) -> dict[str, Any]:
        fields = [list(pair) for pair in self.fields]
        return {"target": self.target, "fields": fields, "hold": self.hold_seconds, "over": self.is_over}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> LoadCall:
        take = Taker(found)
        pairs = take.items("fields", count_max=FIELDS_MAX, default=())
        if not all(isinstance(pair, list) and len(pair) == 2 and all(type(part) is bytes for part in pair) for pair in pairs):
            raise ClientError(400, "fields is not a list of pairs of octets")
        target = take.text("target", length_max=TARGET_BYTES_MAX)
        if not target.isascii():
            raise ClientError(400, "target is not ASCII")
        fields = check_fields([(name, value) for name, value in pairs])
        return cls(target, fields, take.number("hold", high=HOLD_SECONDS_MAX), take.flag("over", default=False))


@dataclass(frozen=True, slots=True)
class LoadAnswer:
    """state: one of the four above; `busy` where the node has too many loads. length: None while it is not known. reason: of a failure."""

    state: str
    have_bytes: int = 0
    length: int | None = None
    reason: str = ""

    def to_wire(self) -> dict[str, Any]:
        return {"state": self.state, "have": self.have_bytes, "length": self.length, "reason": self.reason[:REASON_CHARACTERS_MAX]}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> LoadAnswer:
        take = Taker(found)
        state = take.text("state")
        if state not in _STATES:
            raise ClientError(400, "state is none that is known")
        reason = take.text("reason", length_max=REASON_CHARACTERS_MAX, default="")
        return cls(state, take.integer("have"), take.integer("length", default=None), reason)
