"""What a browser is told so that it shows a file instead of saving it: `Content-Disposition: inline` (RFC 6266 §4.2), and a media type.

A type is guessed from the extension only where the upstream gave none, or the one that means "just bytes", and only for what can't run: a
site that marks uploads as bytes to be saved means that no page among them should act in its name. What can run and is shown all the same,
since the upstream called it by its type, is shown in a sandbox (CSP3 §6.3.2).
"""

from __future__ import annotations

from minicdn.core.headers import first, without
from minicdn.core.message import Fields

PLAY = b"/_play"
_REPLACED = frozenset((b"content-disposition",))
_TYPE = frozenset((b"content-type",))
_JUST_BYTES = frozenset((b"", b"application/octet-stream", b"binary/octet-stream", b"application/x-download"))
_CAN_RUN = frozenset((b"text/html", b"application/xhtml+xml", b"image/svg+xml", b"text/xml", b"application/xml"))
_TYPES = {
    name: media
    for media, names in {
        b"video/mp4": b"mp4 m4v",
        b"video/webm": b"webm",
        b"video/x-matroska": b"mkv",
        b"video/quicktime": b"mov",
        b"video/ogg": b"ogv",
        b"video/mpeg": b"mpg mpeg",
        b"video/mp2t": b"ts m2ts",
        b"video/x-msvideo": b"avi",
        b"application/vnd.apple.mpegurl": b"m3u8",
        b"audio/mpeg": b"mp3",
        b"audio/mp4": b"m4a",
        b"audio/aac": b"aac",
        b"audio/ogg": b"ogg oga opus",
        b"audio/flac": b"flac",
        b"audio/wav": b"wav",
        b"audio/webm": b"weba",
        b"image/png": b"png",
        b"image/jpeg": b"jpg jpeg",
        b"image/gif": b"gif",
        b"image/webp": b"webp",
        b"image/avif": b"avif",
        b"image/bmp": b"bmp",
        b"application/pdf": b"pdf",
        b"text/vtt": b"vtt",
        b"text/plain; charset=utf-8": b"txt log md csv tsv json srt yaml yml toml ini conf sh py",
    }.items()
    for name in names.split()
}


def play_fields(status: int, fields: Fields, path: bytes) -> Fields:
    """An answer's fields, for `path` as it was asked for below /_play. Errors stay as they are."""
    if 300 <= status < 400 and status != 304:
        return [(name, _here(value) if name.lower() == b"location" else value) for name, value in fields]
    if status not in (200, 206, 304):
        return list(fields)
    shown = [*without(fields, _REPLACED), (b"Content-Disposition", inline(first(fields, b"content-disposition") or b""))]
    if status == 304:
        return shown
    media = _essence(fields)
    if media in _JUST_BYTES and (guessed := guess(path)) is not None:
        shown = [*without(shown, _TYPE), (b"Content-Type", guessed)]
    return [*shown, (b"Content-Security-Policy", b"sandbox")] if media in _CAN_RUN else shown


def inline(disposition: bytes) -> bytes:
    """The same, to be shown: the name by which it would be saved stays."""
    _, semicolon, parameters = disposition.partition(b";")
    return b"inline" + semicolon + parameters


def guess(path: bytes) -> bytes | None:
    """A media type by the extension of a path, which may have a query."""
    name = path.partition(b"?")[0].rpartition(b"/")[2]
    return _TYPES.get(name.rpartition(b".")[2].lower()) if b"." in name else None


def _essence(fields: Fields) -> bytes:
    return (first(fields, b"content-type") or b"").partition(b";")[0].strip().lower()


def _here(location: bytes) -> bytes:
    """A redirect to another path of the site is played as well."""
    return PLAY + location if location.startswith(b"/") and not location.startswith(b"//") else location
