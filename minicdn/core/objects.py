"""A JSON object that a person has sent to one of our doors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from minicdn.errors import ClientError


def parse_object(data: bytes, members: Sequence[str], example: str) -> dict[str, Any]:
    """members: what it may have. ClientError(400) says what is wrong."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ClientError(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise ClientError(400, f"the body is not an object such as {example}")
    if unknown := sorted(set(found) - set(members)):
        raise ClientError(400, f"{unknown[0][:100]!r} is none of {', '.join(members)}")
    return found
