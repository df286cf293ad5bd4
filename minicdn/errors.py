"""What can go wrong, sorted by who must act.

A value, not an error, is what is expected to happen: an upstream's 404 is an answer. These are the rest.
The mapping to HTTP statuses has one home, web/status.py; the mapping to exit codes has one home, here.
"""

from __future__ import annotations


class MinicdnError(Exception):
    """Root of the tree. `str(error)` is one line that a person can act upon."""


class ClientError(MinicdnError):
    """The client must act: answered with `status` (4xx or 5xx as HTTP asks) and the reason as text."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class UpstreamError(MinicdnError):
    """The upstream must act: 502, or 504 where `timed_out`; or the stale copy, where there is one. retry_after_seconds: when asking again
    may help, where something is known of that."""

    def __init__(self, reason: str, *, timed_out: bool = False, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.timed_out = timed_out
        self.retry_after_seconds = retry_after_seconds


class UpstreamUnreachable(UpstreamError):
    """No connection to the upstream could be made: refused, no route, no such name, no TLS, or not in time."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason, retry_after_seconds=retry_after_seconds)


class NotReady(UpstreamError):
    """This node can't ask the upstream now: it does not know it yet, or has no connection left: 503. Another node that asked it asks the
    next one."""


class PeerError(MinicdnError):
    """A peer could not be talked to. Never reaches a client: the next owner, at last a local load, takes over."""


class PeerRefused(PeerError):
    """A peer answered a message with a status that is no answer to it."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class PeerBusy(PeerError):
    """A peer answered that it is not the one to ask just now."""


class BrokenBody(MinicdnError):
    """A body ended before its end. Whoever was being sent it must see a cut connection, never a short file."""


class CopyLost(BrokenBody):
    """The disk did not take the rest of a body, or does not give it back. Nothing is wrong with what was read: others have the rest."""


class DiskError(MinicdnError):
    """Our disk refused. The bytes pass through unsaved."""


class BodyGone(DiskError):
    """The body has left the shelf and its file is deleted (a hard purge, say), while bytes still came. The disk is not to blame."""


class OperatorError(MinicdnError):
    """The operator must act: one line on stderr, `exit_code`, no traceback."""

    exit_code = 1


class UsageError(OperatorError):
    """A wrong option, value or upstream URL."""

    exit_code = 2


class PortTaken(OperatorError):
    """Somebody else listens there."""

    exit_code = 3


class CacheFolderUnusable(OperatorError):
    """The cache folder can't be written, or another node holds it."""

    exit_code = 4


class NotThere(OperatorError):
    """`get`: the server says that there is no such file (404, 410)."""

    exit_code = 5


class Refused(OperatorError):
    """`get`: the server understood, and will not give the file (any other 4xx). `preheat`: the manager will not: no token, say."""

    exit_code = 6


class SourcesFailed(OperatorError):
    """`get`: nobody who has the file could be reached, or went on to its end, in the time there was. `bench`: nobody answers.
    `preheat`: the same, or a file did not get where it should."""

    exit_code = 7


class WrongDigest(OperatorError):
    """`get`: the bytes are not those that were asked for."""

    exit_code = 8


class TargetUnwritable(OperatorError):
    """`get`: the disk is full, or the file can't be written there."""

    exit_code = 9


class CheckFailed(OperatorError):
    """`doctor`: at least one finding says FAIL."""

    exit_code = 10


COLD_EXIT_CODE = 130
"""Exit code of a cold close, the shell's own for an interrupt."""


class Interrupted(OperatorError):
    """`get`: Ctrl-C, or SIGTERM."""

    exit_code = COLD_EXIT_CODE
