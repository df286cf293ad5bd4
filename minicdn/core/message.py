"""A request and a response head as values. Everything in core/ speaks in these.

Field lines are a sequence of (name, value) pairs of bytes, in their order. Request names are lower case (the server
makes them so); response names keep the upstream's case, so look-ups in responses ignore case (headers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field

from minicdn.core.names import names_of
from minicdn.core.value import value_class

Fields = Sequence[tuple[bytes, bytes]]
Inform = Callable[[int, Fields], None]
"""Takes an interim answer's status and fields, on their way to the one client whose request was sent on (RFC 9110 §15.2)."""


@value_class
class Request:
    """What was asked.

    method: upper case. target: origin-form, the bytes as they came (what a redirect repeats).
    key: the normalised target (core/target.py), what the cache, the owners and the upstream know the thing by.
    """

    method: str
    target: bytes
    key: str
    fields: Fields = field(default=())
    _names: frozenset[bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def names(self) -> frozenset[bytes]:
        """Of its fields: what is asked of a request is mostly whether it has a field that it seldom has."""
        found = self._names
        if found is None:
            found = names_of(self.fields)
            object.__setattr__(self, "_names", found)  # it follows from the fields, so nothing changes
        return found


@value_class
class Head:
    """A final response's status and its end-to-end field lines, in order."""

    status: int
    fields: Fields = field(default=())
