"""A token on the command line is seen by everybody who runs ps. It is moved to the environment, which only its owner can read."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence

FLAG, VARIABLE = "--token", "MINICDN_TOKEN"


def take_token(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The words of a command without the token, and the token, the last one if there are several."""
    left: list[str] = []
    token = None
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            left += [word, *words]
            break
        if word == FLAG and words:
            token = words.pop(0)
        elif word.startswith(FLAG + "="):
            token = word.partition("=")[2]
        else:
            left.append(word)
    return left, token


def hide_token(environ: MutableMapping[str, str] = os.environ) -> None:
    """Starts this process again without it, if it is there; the pid stays. Only where a program can be exchanged in its place (POSIX)."""
    words, token = take_token(sys.orig_argv)
    if token and os.name == "posix" and not getattr(sys, "frozen", False):
        environ[VARIABLE] = token
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *words[1:]])
