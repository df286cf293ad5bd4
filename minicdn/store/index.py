"""What a restart finds: beside each body file a metadata file, written when the body is whole and on the disk, and not before.

The order is the whole of the crash safety: bytes, sync, metadata to a temporary name, sync, rename. A body without metadata is a
leftover and is deleted; metadata that can't be read, or whose body is missing or of another length, likewise. So a crash at
any point loses at most what was not finished.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack

VERSION = 1
RECORD_BYTES_MAX = 1024 * 1024
BODY_SUFFIX, META_SUFFIX, TEMPORARY_SUFFIX = ".body", ".meta", ".temporary"


@dataclass(frozen=True, slots=True)
class Record:
    """key: the entry's. stored: the head and its facts as Stored.to_wire gives them. length: of the body, in bytes."""

    key: str
    stored: object
    length: int


def meta_path(body_path: Path) -> Path:
    return body_path.with_suffix(META_SUFFIX)


def write_record(body_path: Path, record: Record) -> None:
    """Atomic: afterwards the old record or the new one is there. Raises OSError."""
    path = meta_path(body_path)
    temporary = path.with_suffix(TEMPORARY_SUFFIX)
    packed = msgpack.packb({"version": VERSION, "key": record.key, "stored": record.stored, "length": record.length}, unicode_errors="surrogateescape")
    with open(temporary, "wb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def delete_record(body_path: Path) -> None:
    try:
        meta_path(body_path).unlink(missing_ok=True)
    except OSError:
        pass  # recovery drops it: its body is gone


def read_record(path: Path) -> Record | None:
    """None where the file is no record of ours."""
    try:
        if path.stat().st_size > RECORD_BYTES_MAX:
            return None
        raw = msgpack.unpackb(path.read_bytes(), strict_map_key=False, use_list=True, unicode_errors="surrogateescape")
    except (OSError, ValueError, TypeError, msgpack.UnpackException):
        return None
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        return None
    key, length = raw.get("key"), raw.get("length")
    if not isinstance(key, str) or not isinstance(length, int) or isinstance(length, bool) or length < 0:
        return None
    return Record(key, raw.get("stored"), length)


def recover(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Whole bodies with their records, least recently used first; everything else below the folder is deleted."""
    found: list[tuple[float, Path]] = []
    claimed: set[Path] = set()
    for path in sorted(folder.glob("??/*")):
        if path.suffix == META_SUFFIX and path.is_file():
            found.append((path.stat().st_mtime, path))
    found.sort()
    recovered = []
    for _, path in found:
        body_path = path.with_suffix(BODY_SUFFIX)
        record = read_record(path)
        if record is not None and _length_of(body_path) == record.length:
            claimed.update((path, body_path))
            recovered.append((body_path, record))
    for path in folder.glob("??/*"):
        if path not in claimed and path.is_file():
            path.unlink(missing_ok=True)
    yield from recovered


def _length_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
