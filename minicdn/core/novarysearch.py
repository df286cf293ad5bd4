"""No-Vary-Search: a response that says which parts of the query do not matter to it (draft-ietf-httpbis-no-vary-search).

Two keys with one path mean the same stored response when their queries come out alike under its rule. The desk keeps the rules that it
has seen for a path, and looks once more under `canonical_key` where the key itself is not stored.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from minicdn.core import headers, structured
from minicdn.core.message import Fields
from minicdn.core.value import value_class

PARAMETERS_MAX = 512
"""Queries with more parameters are compared as they are."""


@value_class
class SearchRule:
    """ignores_order: the order of different parameters. ignored: parameters that do not matter; None: all of them but `kept`."""

    ignores_order: bool
    ignored: frozenset[str] | None
    kept: frozenset[str] = frozenset()


def parse_no_vary_search(fields: Fields) -> SearchRule | None:
    """The rule of a response; None where there is none, or one that does not parse or contradicts itself: everything matters."""
    members = structured.parse_dictionary(headers.every(fields, b"no-vary-search"))
    if not members:
        return None
    order, params, kept = members.get("key-order", False), members.get("params", False), members.get("except")
    if not isinstance(order, bool) or not isinstance(params, bool | tuple):
        return None
    if kept is not None and (params is not True or not _is_names(kept)):
        return None
    if isinstance(params, tuple):
        return SearchRule(order, frozenset(params)) if _is_names(params) else None  # type: ignore[arg-type]
    if not params and not order:
        return None
    return SearchRule(order, None if params else frozenset(), frozenset(kept or ()))  # type: ignore[arg-type]


def _is_names(value: structured.Value) -> bool:
    return isinstance(value, tuple) and all(type(name) is str for name in value)


def canonical_key(key: str, rule: SearchRule) -> str:
    """The key with only that of its query which matters under the rule, written in one way."""
    path, _, query = key.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=PARAMETERS_MAX)
    except ValueError:
        return key
    if rule.ignored is None:
        pairs = [(name, value) for name, value in pairs if name in rule.kept]
    else:
        pairs = [(name, value) for name, value in pairs if name not in rule.ignored]
    if rule.ignores_order:
        # By name only: the order of one parameter's values still matters.
        pairs.sort(key=lambda pair: pair[0])
    return f"{path}?{urlencode(pairs)}"
