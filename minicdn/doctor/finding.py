"""What a check found: one line for a person, and for what is not as it should be a second one that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"
TEXT_LENGTH_MAX = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """check: what was looked at. state: OK, WARN or FAIL. seen: with figures. advice: for a person; empty where all is well."""

    check: str
    state: str
    seen: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        return {"check": self.check, "state": self.state, "seen": self.seen, "advice": self.advice}


def ok(check: str, seen: str) -> Finding:
    return Finding(check, OK, plain(seen))


def warn(check: str, seen: str, advice: str) -> Finding:
    return Finding(check, WARN, plain(seen), plain(advice))


def fail(check: str, seen: str, advice: str) -> Finding:
    return Finding(check, FAIL, plain(seen), plain(advice))


def plain(text: str) -> str:
    """One line of bounded length without what would move a terminal's cursor: servers put what they like into what is shown of them."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    return line if len(line) <= TEXT_LENGTH_MAX else line[: TEXT_LENGTH_MAX - 3] + "..."


def has_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.state == FAIL for finding in findings)


def lines_of(finding: Finding) -> str:
    first = f"{finding.state:<4}  {finding.check}: {finding.seen}"
    return f"{first}\n      {finding.advice}" if finding.advice else first


def summary(findings: list[Finding], *, is_stopped: bool) -> str:
    count = {state: sum(finding.state == state for finding in findings) for state in (OK, WARN, FAIL)}
    warnings = f"{count[WARN]} warning{'' if count[WARN] == 1 else 's'}"
    end = "stopped before the end; so far " if is_stopped else ""
    return f"{end}{count[FAIL]} failed, {warnings}, {count[OK]} ok"
