"""A purge: which entries somebody declares out of date, and how thoroughly.

    paths     the very keys                              /big.iso
    prefixes  every key that begins so                   /releases/
    tags      every entry whose response carried the tag (tags.py)

Soft (the default): what matches is stale from now on; its bytes stay, for a validation that may find them still right, and for the day when
the upstream fails. Hard: it is gone. Purging twice is the same as purging once, so a purge may be repeated by whoever is not sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

from minicdn.core.objects import parse_object
from minicdn.core.tags import TAG_CHARACTERS_MAX
from minicdn.core.target import TARGET_BYTES_MAX, key_of_url, parse_target
from minicdn.core.value import value_class
from minicdn.errors import ClientError

ITEMS_MAX = 1000
"""Of each kind, in one purge."""
MEMBERS = ("paths", "prefixes", "tags", "soft")


@value_class
class Purge:
    """paths, prefixes: normalised as keys are. A key has its query in it: `/a` and `/a?v=2` are two, and the prefix `/a` is both."""

    paths: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    is_soft: bool = True

    def matches(self, key: str, tags: Set[str]) -> bool:
        return key in self.paths or key.startswith(self.prefixes) or not self.tags.isdisjoint(tags)

    def may_match(self, key: str) -> bool:
        """The same of an entry whose tags are not known yet."""
        return bool(self.tags) or key in self.paths or key.startswith(self.prefixes)

    @property
    def needs_sweep(self) -> bool:
        """Whether all entries have to be looked at."""
        return bool(self.prefixes or self.tags)

    @property
    def cost_bytes(self) -> int:
        """About what it takes to keep."""
        return 200 + sum(len(text) + 60 for part in (self.paths, self.prefixes, self.tags) for text in part)

    def to_wire(self) -> dict[str, object]:
        return {"paths": sorted(self.paths), "prefixes": list(self.prefixes), "tags": sorted(self.tags), "soft": self.is_soft}

    @classmethod
    def from_wire(cls, plain: object) -> Purge:
        """The inverse of to_wire. Raises ValueError for anything else."""
        if not isinstance(plain, dict) or type(plain.get("soft")) is not bool:
            raise ValueError("a purge is a map that says soft or not")
        paths, prefixes = (_texts(plain.get(name), TARGET_BYTES_MAX * 3) for name in ("paths", "prefixes"))
        if not all(path.startswith("/") for path in (*paths, *prefixes)):
            raise ValueError("a path that is none")
        return cls(frozenset(paths), tuple(prefixes), frozenset(_texts(plain.get("tags"), TAG_CHARACTERS_MAX)), plain["soft"])


EVERYTHING = Purge(prefixes=("/",))
"""The cautious reading, where nobody knows what was missed."""


def merged(purges: Iterable[Purge]) -> Purge:
    """One purge that does what all of them do, and more where they are too many for one. Hard where any of them is."""
    paths: set[str] = set()
    prefixes: dict[str, None] = {}
    tags: set[str] = set()
    is_soft = True
    for purge in purges:
        paths |= purge.paths
        prefixes.update(dict.fromkeys(purge.prefixes))
        tags |= purge.tags
        is_soft = is_soft and purge.is_soft
    if max(len(paths), len(prefixes), len(tags)) > ITEMS_MAX:
        return Purge(prefixes=("/",), is_soft=is_soft)
    return Purge(frozenset(paths), tuple(prefixes), frozenset(tags), is_soft)


def parse_purge(data: bytes, origins: Set[str], upstream: str = "", ignored_query: Set[str] = frozenset()) -> Purge:
    """The body of `POST /_purge`. origins, upstream: whose full URLs count as ours; ignored_query: what is left out of keys
    (target.key_of_url). ClientError(400) says what is wrong."""
    found = parse_object(data, MEMBERS, '{"paths": ["/big.iso"]}')
    is_soft = found.get("soft", True)
    if not isinstance(is_soft, bool):
        raise ClientError(400, "soft is neither true nor false")

    def to_key(text: str) -> str:
        return parse_path(text, origins, upstream, ignored_query)

    paths, prefixes = _listed(found, "paths", to_key), _listed(found, "prefixes", to_key)
    tags = _listed(found, "tags", _tag)
    if not paths and not prefixes and not tags:
        raise ClientError(400, "nothing is named in paths, prefixes or tags")
    return Purge(frozenset(paths), tuple(dict.fromkeys(prefixes)), frozenset(tags), is_soft)


def purge_of_key(key: str, *, is_soft: bool) -> Purge:
    """What `PURGE /path` and `PURGE /path*` ask for. (A name that ends in a star itself can be purged by `POST /_purge`.)"""
    if key.endswith("*"):
        return Purge(prefixes=(key[:-1],), is_soft=is_soft)
    return Purge(frozenset((key,)), is_soft=is_soft)


def parse_path(text: str, origins: Set[str], upstream: str = "", ignored_query: Set[str] = frozenset()) -> str:
    """The key of a path, or of a full URL of ours. Raises ClientError(400)."""
    try:
        raw = text.encode("utf-8")
        if raw[:1] == b"/":
            return parse_target(raw, ignored_query)
        key = key_of_url(raw, origins, upstream, ignored_query)
    except (UnicodeEncodeError, ClientError) as error:
        raise ClientError(400, f"{text[:200]!r}: {getattr(error, 'reason', 'not text')}") from None
    if key is None:
        raise ClientError(400, f"{text[:200]!r} is neither a path (which begins with a slash) nor a URL of this site")
    return key


def _listed(found: dict[str, object], name: str, parse: Callable[[str], str]) -> list[str]:
    items = found.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ClientError(400, f"{name} is not a list of strings")
    if len(items) > ITEMS_MAX:
        raise ClientError(400, f"{name} has {len(items)} items; at most {ITEMS_MAX} go into one purge")
    return [parse(item) for item in items]


def _tag(text: str) -> str:
    if not text or len(text) > TAG_CHARACTERS_MAX:
        raise ClientError(400, f"a tag has 1 to {TAG_CHARACTERS_MAX} characters")
    return text


def _texts(items: object, length_max: int) -> list[str]:
    if not isinstance(items, list) or len(items) > ITEMS_MAX:
        raise ValueError("not a list of a bearable length")
    if not all(type(item) is str and 0 < len(item) <= length_max for item in items):
        raise ValueError("an item that is no text of a bearable length")
    return items
