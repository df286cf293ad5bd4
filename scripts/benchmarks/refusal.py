"""Why a measurement can't be made here."""

from __future__ import annotations

import os
import shutil
import sys

_SYSTEM_PATHS = "/usr/sbin:/usr/local/sbin:/sbin:/opt/homebrew/bin"


class CannotMeasure(Exception):
    """One line for the operator: what is missing, and what to do."""


def found_program(name: str) -> str:
    """The program's path; CannotMeasure where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path=_SYSTEM_PATHS)
    if path is None:
        raise CannotMeasure(f"{name} is not installed, and this measurement needs it")
    return path


def require_namespaces() -> None:
    """Shaped hosts want Linux, root and iproute2."""
    if sys.platform != "linux":
        raise CannotMeasure("shaped hosts are network namespaces, which only Linux has")
    if os.geteuid() != 0:
        raise CannotMeasure("shaped hosts are network namespaces, which only root may make; run it as root, or with --loopback")
    for name in ("ip", "tc"):
        found_program(name)
