"""The front door of storing: what a response becomes, how old it is, what news does to it.

    storable(request, head, …)  → Stored | NotStored     storing.py, with the lifetime from lifetime.py
    freshen(stored, head304, …) → Stored                 updating.py (304), apply_head (HEAD)
    age_seconds, is_fresh, served_fields, expire, to_facts, from_facts, to_wire, from_wire        stored.py

One direction only: lifetime ← storing ← updating; each of them reads beside its part of RFC 9111.
"""

from __future__ import annotations

from minicdn.core.lifetime import HEURISTIC_STATUSES, Policy
from minicdn.core.stored import (
    NotStored,
    Stored,
    age_line,
    age_seconds,
    current_age,
    expire,
    from_facts,
    from_wire,
    is_fresh,
    served_fields,
    to_facts,
    to_wire,
)
from minicdn.core.storing import storable
from minicdn.core.updating import apply_head, fits, freshen

__all__ = [
    "HEURISTIC_STATUSES",
    "NotStored",
    "Policy",
    "Stored",
    "age_line",
    "age_seconds",
    "apply_head",
    "current_age",
    "expire",
    "fits",
    "freshen",
    "from_facts",
    "from_wire",
    "is_fresh",
    "served_fields",
    "storable",
    "to_facts",
    "to_wire",
]
