"""Content for the tests: deterministic, told apart by seed, and never whole in memory when large."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

MIB = 1024 * 1024


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bytes_of(seed: str, size_bytes: int) -> bytes:
    """The same bytes for the same seed, without a pattern that a misplaced span could hide in."""
    return random.Random(seed).randbytes(size_bytes)


def _blocks(seed: str, size_bytes: int) -> Iterator[bytes]:
    """One random mebibyte, and each block a rotation of it with its number in front: quick, and no two blocks alike."""
    base = bytes_of(seed, MIB)
    for number in range(-(-size_bytes // MIB)):
        turn = (number * 4099) % MIB
        block = number.to_bytes(8, "big") + base[turn:] + base[:turn]
        yield block[: min(MIB, size_bytes - number * MIB)]


def big_file(path: Path, size_bytes: int, seed: str = "big") -> str:
    """Write a file of this size, block by block; return its sha256."""
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for block in _blocks(seed, size_bytes):
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def folder_bytes(folder: Path) -> int:
    """What the files in a folder take: blocks on disk where the system tells, and lengths otherwise (like du)."""
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # evicted while we looked
        if path.is_file():
            total += getattr(status, "st_blocks", 0) * 512 or status.st_size
    return total


def open_files(folder: Path) -> list[str]:
    """The folder and files below it that this process has open, deleted ones included (Linux)."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target == str(folder) or target.startswith(f"{folder}/"):
            found.append(target)
    return found
