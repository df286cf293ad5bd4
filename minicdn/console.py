"""What the program says to the person who started it.

Its own lines (the start, the steps of a close) go to standard output, or to standard error while `--log -` has standard
output; warnings and errors always go to standard error, each as one line. A terminal that went away, or a pipe that was
closed, is no reason to stop serving.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

DEBUG_ENV = "MINICDN_DEBUG"
_LINE_MAX = 1000


def is_debug(environ: Mapping[str, str] = os.environ) -> bool:
    return environ.get(DEBUG_ENV, "") not in ("", "0")


def to_line(text: str) -> str:
    """One line of bounded length, whatever a library put into its message."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE_MAX else line[: _LINE_MAX - 3] + "..."


class Console:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = _is_terminal(stream)
        self._has_progress = False

    def say(self, text: str) -> None:
        self._write(("\r\x1b[K" if self._has_progress else "") + text + "\n")
        self._has_progress = False

    def progress(self, text: str) -> None:
        """A line that the next one overwrites; nothing where there is no terminal to overwrite on."""
        if self.is_terminal:
            self._write("\r\x1b[K" + text)
            self._has_progress = True

    def clear(self) -> None:
        """No progress is shown any more."""
        if self._has_progress:
            self._write("\r\x1b[K")
            self._has_progress = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # closed pipe, closed terminal, closed stream
            pass


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.name == "posix"
    except ValueError:
        return False


class _OneLine(logging.Formatter):
    """`2026-01-31 12:00:00 minicdn: message: ErrorType: text`; the traceback only for those who asked."""

    def __init__(self, *, with_traceback: bool) -> None:
        super().__init__("%(asctime)s minicdn: %(message)s", "%Y-%m-%d %H:%M:%S")
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        text = to_line(record.getMessage())
        if error is not None:
            text = to_line(f"{text}: {type(error).__name__}: {error}")
        line = f"{self.formatTime(record, self.datefmt)} minicdn: {text}"
        return f"{line}\n{self.formatException(record.exc_info)}" if error is not None and self._with_traceback else line


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not: what clients do wrong (the answer tells them), nor requests that a close has cut off."""
    if record.name.startswith("uvicorn") and record.levelno < logging.ERROR:
        return False
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != "CancelledError"


def set_up_logging(stream: TextIO = sys.stderr, *, debug: bool = False) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_OneLine(with_traceback=debug))
    handler.addFilter(_is_worth_a_line)
    logging.raiseExceptions = False  # a closed stderr is not worth a traceback on it
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("minicdn").setLevel(logging.INFO)
