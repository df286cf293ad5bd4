"""What a restart finds: beside each body file a metadata file, written when what it speaks of is on the disk, and not before.

    objects/3f/3f0c…d1-8a1be2440.body      bytes, sync
    objects/3f/3f0c…d1-8a1be2440.meta      to a temporary name, sync, rename

The order is the whole of the crash safety. A body without metadata is a leftover and is deleted; metadata that can't be read, or
whose body is missing or of another length, likewise. So a crash at any point loses at most what was not finished.

Of a body that is not whole the metadata names the pieces that are: those with a digest. Whatever else is in its file does not count,
and the file may be shorter than the whole. Such records have a version of their own, so that an earlier program does not take a part
for the whole; those of whole bodies it can read.

Deleted are only files named as we name ours, and no link is followed: somebody may one day give us a folder with `objects/??/` of
another program in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG

import msgpack

from minicdn.core.pieces import Pieces
from minicdn.store.files import delete_file
from minicdn.store.ledger import DIGEST_BYTES

VERSION, VERSION_OF_PARTS = 1, 2
RECORD_BYTES_MAX = 4 * 1024 * 1024
BODY_SUFFIX, META_SUFFIX, TEMPORARY_SUFFIX = ".body", ".meta", ".temporary"

_OUR_FOLDER = re.compile(r"[0-9a-f]{2}")
_OUR_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{8,40}\.(body|meta|temporary)")


@dataclass(frozen=True, slots=True)
class Record:
    """key: the entry's. stored: the head and its facts as Stored.to_wire gives them. length: of the body, in bytes. digests: of its pieces,
    32 bytes each, zeros where unknown; or empty. sha256: of the whole, where known."""

    key: str
    stored: object
    length: int
    is_whole: bool = True
    piece_bytes: int = 0
    digests: bytes = b""
    sha256: bytes | None = None

    def digests_for(self, layout: Pieces) -> bytes:
        """Empty where they are of other pieces."""
        return self.digests if self.piece_bytes == layout.size and len(self.digests) == DIGEST_BYTES * layout.count else b""


def body_path(objects: Path, key: str, unique: str) -> Path:
    """unique: hexadecimal digits that no other body of the key has."""
    name = _name_of(key)
    return objects / name[:2] / f"{name}-{unique}{BODY_SUFFIX}"


def meta_path(body: Path) -> Path:
    return body.with_suffix(META_SUFFIX)


def _name_of(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def write_record(body: Path, record: Record) -> None:
    """Atomic: afterwards the old record or the new one is there. Raises OSError, ValueError for what can't be put into a record."""
    path = meta_path(body)
    temporary = path.with_suffix(TEMPORARY_SUFFIX)
    packed = _pack(record)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        try:
            view = memoryview(packed)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except OSError:
        delete_file(temporary)
        raise


def _pack(record: Record) -> bytes:
    plain = {
        "version": VERSION if record.is_whole else VERSION_OF_PARTS,
        "key": record.key,
        "stored": record.stored,
        "length": record.length,
        "piece_bytes": record.piece_bytes,
        "digests": record.digests,
        "sha256": record.sha256,
    }
    try:
        packed = msgpack.packb(plain, unicode_errors="surrogateescape")
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not to be packed: {error}") from error
    if len(packed) > RECORD_BYTES_MAX:
        raise ValueError("a record too large to be read again")
    return packed


def delete_record(body: Path) -> None:
    """Without it the body is a leftover. Never raises: where it can't be deleted, recovery finds that its body is gone."""
    delete_file(meta_path(body))


def read_record(path: Path) -> Record | None:
    """None where the file is no record of ours."""
    try:
        with open(path, "rb") as file:
            packed = file.read(RECORD_BYTES_MAX + 1)
        if len(packed) > RECORD_BYTES_MAX:
            return None
        raw = msgpack.unpackb(packed, strict_map_key=False, use_list=True, unicode_errors="surrogateescape")
    except (OSError, ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        return None
    if not isinstance(raw, dict) or raw.get("version") not in (VERSION, VERSION_OF_PARTS):
        return None
    key, length = raw.get("key"), raw.get("length")
    if not isinstance(key, str) or not isinstance(length, int) or isinstance(length, bool) or length < 0:
        return None
    piece_bytes, digests, whole = raw.get("piece_bytes"), raw.get("digests"), raw.get("sha256")
    return Record(
        key,
        raw.get("stored"),
        length,
        is_whole=raw.get("version") == VERSION,
        piece_bytes=piece_bytes if isinstance(piece_bytes, int) else 0,
        digests=digests if isinstance(digests, bytes) else b"",
        sha256=whole if isinstance(whole, bytes) and len(whole) == DIGEST_BYTES else None,
    )


def recover(objects: Path) -> list[tuple[Path, Record]]:
    """Bodies with their records, least recently used first; what else of ours lies there is deleted. Raises OSError where the folder
    itself can't be read."""
    files = dict(_our_files(objects))
    found = []
    claimed: set[Path] = set()
    for path, (used_at, size) in files.items():
        body = path.with_suffix(BODY_SUFFIX)
        if path.suffix != META_SUFFIX or size < 0 or body not in files:
            continue
        record = read_record(path)
        if record is not None and _may_be(record, files[body][1]) and _is_of(body, record.key):
            found.append((used_at, body, record))
            claimed.update((path, body))
    for path in files:
        if path not in claimed:
            delete_file(path)
    found.sort(key=lambda row: row[:2])
    return [(body, record) for _, body, record in found]


def _may_be(record: Record, size: int) -> bool:
    """Whether a file of this size can be the record's body."""
    return size == record.length if record.is_whole else size <= record.length and any(record.digests)


def _is_of(body: Path, key: str) -> bool:
    """Whether it is this key's, and can be used by us."""
    try:
        return body.name.startswith(_name_of(key)) and os.access(body, os.R_OK | os.W_OK)
    except ValueError:
        return False


def _our_files(objects: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Each file with our kind of name: when it was last touched, in nanoseconds, and its bytes. A link, a folder or a device by such
    a name counts as a file of no possible length."""
    for folder in _entries(objects, must_read=True):
        if not _OUR_FOLDER.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
            continue
        for file in _entries(Path(folder.path)):
            if _OUR_NAME.fullmatch(file.name):
                yield Path(file.path), _looked_at(file)


def _looked_at(file: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = file.stat(follow_symlinks=False)
    except OSError:
        return 0, -1
    return status.st_mtime_ns, status.st_size if S_ISREG(status.st_mode) else -1


def _entries(folder: Path, *, must_read: bool = False) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        if must_read:
            raise
        return []
