"""The names by which a stored response can be purged together with others.

Four fields carry them: Surrogate-Key and xkey (separated by spaces), Cache-Tag (by commas), and Cache-Groups (RFC 9875 §2, a
structured list of strings). All land in one set; a field that does not parse gives none.
"""

from __future__ import annotations

from minicdn.core import headers, structured
from minicdn.core.message import Fields

TAGS_MAX = 256
"""Tags of one response that are kept, and groups that one answer can invalidate. RFC 9875 §2 asks for 32 at least."""
TAG_CHARACTERS_MAX = 1024
"""Longer tags are not kept."""
TAG_FIELDS = frozenset((b"surrogate-key", b"xkey", b"cache-tag", b"cache-groups"))
NONE: frozenset[str] = frozenset()
"""One for all: an empty set is larger than many a body."""


def parse_tags(fields: Fields) -> frozenset[str]:
    """All tags of a response, at most TAGS_MAX: the first ones in order of fields."""
    if not headers.has_any(fields, TAG_FIELDS):
        return NONE
    found: dict[str, None] = {}
    for name, value in fields:
        match name.lower():
            case b"surrogate-key":
                tags = value.split()
            case b"xkey":
                tags = value.replace(b",", b" ").split()
            case b"cache-tag":
                tags = headers.split_list(value)
            case _:
                continue
        found.update((tag.decode("latin-1"), None) for tag in tags)
    found.update((group, None) for group in _groups(fields, b"cache-groups"))
    return NONE if not found else frozenset([tag for tag in found if len(tag) <= TAG_CHARACTERS_MAX][:TAGS_MAX])


def invalidated_groups(fields: Fields) -> frozenset[str]:
    """What an answer to an unsafe request asks to forget (RFC 9875 §3, Cache-Group-Invalidation)."""
    return frozenset(_groups(fields, b"cache-group-invalidation")[:TAGS_MAX])


def _groups(fields: Fields, name: bytes) -> list[str]:
    members = structured.parse_list(headers.every(fields, name)) or []
    return [member for member in members if type(member) is str]
