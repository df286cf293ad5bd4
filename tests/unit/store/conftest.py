"""The fixtures of the store's tests."""

from tests.unit.store.faults import disk

__all__ = ["disk"]
