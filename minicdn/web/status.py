"""Error to status, in one place."""

from __future__ import annotations

from math import ceil

from minicdn.errors import ClientError, NotReady, UpstreamError

CLOSING = (400, 421, 501, 505)
"""After these nobody knows what the client will send next (RFC 9112 §9.6)."""

Fields = list[tuple[bytes, bytes]]


def status_of(error: Exception) -> tuple[int, str]:
    """The status that tells the client who must act, and the reason as one line."""
    match error:
        case ClientError():
            return error.status, error.reason
        case NotReady():
            return 503, str(error)
        case UpstreamError():
            return (504 if error.timed_out else 502), str(error)
        case _:
            return 500, f"internal error: {type(error).__name__}"


def retry_fields(error: Exception) -> Fields:
    """When the client may ask again, where that is known (RFC 9110 §10.2.3)."""
    seconds = error.retry_after_seconds if isinstance(error, UpstreamError) else None
    return [] if seconds is None else [(b"retry-after", b"%d" % max(1, ceil(seconds)))]


def text_fields(status: int, length: int) -> Fields:
    """Of an answer of our own: text, not to be kept."""
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(length).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status in CLOSING:
        fields.append((b"connection", b"close"))
    if status == 503:
        fields.append((b"retry-after", b"1"))
    return fields
