"""Keys that differ only where a response said it does not matter (No-Vary-Search)."""

from __future__ import annotations

from cachetools import LRUCache

from minicdn.core.names import names_of
from minicdn.core.novarysearch import SearchRule, canonical_key, parse_no_vary_search
from minicdn.store.entry import Entry

SEARCH_RULES_MAX = 10_000


class Twins:
    def __init__(self) -> None:
        self._rules: LRUCache[str, SearchRule] = LRUCache(SEARCH_RULES_MAX)
        self._twins: LRUCache[str, str] = LRUCache(SEARCH_RULES_MAX)

    def of(self, key: str) -> str | None:
        """A key whose answer may stand for this one's."""
        rule = self._rules.get(key.partition("?")[0]) if self._rules else None
        return self._twins.get(canonical_key(key, rule)) if rule is not None else None

    def note(self, entry: Entry) -> None:
        """An answer has come, and may say what of its query does not matter."""
        if b"no-vary-search" not in names_of(entry.head.fields):
            return
        rule = parse_no_vary_search(entry.head.fields)
        if rule is not None:
            self._rules[entry.key.partition("?")[0]] = rule
            self._twins[canonical_key(entry.key, rule)] = entry.key
