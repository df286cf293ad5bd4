"""The peak of a process's resident memory. Linux keeps it (VmHWM), so no moment between two looks is missed."""

from __future__ import annotations

from pathlib import Path

from tests.kit.files import MIB


def rss_bytes(pid: int, field: str = "VmRSS") -> int:
    """Resident bytes now, or at the peak with `VmHWM`. Raises FileNotFoundError where there is no /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{field} is not in /proc/{pid}/status")


def peak_rss_bytes(pid: int) -> int:
    return rss_bytes(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Start the peak anew, so that a test that shares a process sees its own."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def assert_peak_below(pid: int, bound_bytes: int, who: str) -> None:
    peak = peak_rss_bytes(pid)
    assert peak <= bound_bytes, f"{who} took {peak / MIB:.0f} MiB at its peak; the bound is {bound_bytes / MIB:.0f} MiB"
