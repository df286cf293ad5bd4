"""A list of URLs in a file, or from standard input: one on each line, for the commands that take many."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

from minicdn.errors import UsageError

BYTES_MAX = 64 * 1024 * 1024


def lines_of(path: str | None, count_max: int) -> list[str]:
    """The first `count_max` lines that are neither empty nor comments, and one, so that who takes no more can say so. `-` is standard
    input, None no file. UsageError."""
    if path is None:
        return []
    try:
        text = sys.stdin.read(BYTES_MAX) if path == "-" else _read(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--url-file: {path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    said = (line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#"))
    return list(islice(said, count_max + 1))


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(BYTES_MAX)
