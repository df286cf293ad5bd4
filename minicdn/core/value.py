"""Values: what nobody changes once it is made.

A dataclass that is frozen says so by force, at the price of a call for each field of each value that is made, which is most of what
making it takes; some twenty are made for one answer. So a value is an ordinary dataclass with slots, compared and hashed by its
fields, and to a type checker a frozen one. In scripts/check they are frozen indeed (tests/__init__.py): whoever assigns to one
is found there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

Made = TypeVar("Made")


@dataclass_transform(frozen_default=True)
def value_class(cls: type[Made]) -> type[Made]:
    """A class of values. Its fields can be hashed, or the value can't."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True)
def frozen_class(cls: type[Made]) -> type[Made]:
    """The same, by force."""
    return dataclass(slots=True, frozen=True)(cls)
