"""Figures of several systems side by side, taken in turn: a table with ratios, JSON, a chart, and a section of a document.

A ratio is taken within one round, where both systems met the same machine, and the median of the rounds is quoted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from scripts.benchmarks.bars import bar_chart
from scripts.benchmarks.processes import Crew
from scripts.benchmarks.report import replace_section
from scripts.benchmarks.stage import clean_environment

OWN, BESIDE = "minicdn", "nginx"


@dataclass(frozen=True, slots=True)
class Figure:
    case: str
    system: str
    round: int
    value: float
    unit: str = "µs"
    more: dict[str, float] = field(default_factory=dict)


class Figures:
    """name: of the measurement, and of its section. how: what was done, for the section."""

    def __init__(self, name: str, title: str, how: str) -> None:
        self.name, self.title, self.how = name, title, how
        self.all: list[Figure] = []

    def add(self, figure: Figure) -> None:
        self.all.append(figure)
        more = "".join(f"  {name} {value:.4g}" for name, value in figure.more.items())
        print(f"round {figure.round}  {figure.case:28} {figure.system:9} {figure.value:10.2f} {figure.unit}{more}", flush=True)

    def values(self, case: str, system: str) -> dict[int, float]:
        return {each.round: each.value for each in self.all if (each.case, each.system) == (case, system)}

    def ratio(self, case: str, system: str) -> float | None:
        """The system's figure ÷ nginx's: the median over the rounds that have both."""
        own, beside = self.values(case, system), self.values(case, BESIDE)
        ratios = [own[number] / beside[number] for number in own if beside.get(number)]
        return median(ratios) if ratios else None

    def table(self) -> str:
        systems = list(dict.fromkeys(each.system for each in self.all))
        compared = [system for system in systems if system != BESIDE and BESIDE in systems]
        heads = ["", *systems, *(f"{system} ÷ {BESIDE}" for system in compared)]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for case in dict.fromkeys(each.case for each in self.all):
            cells = [self._cell(case, system) for system in systems]
            cells += [f"{ratio:.2f}" if (ratio := self.ratio(case, system)) is not None else "–" for system in compared]
            lines.append(f"| {case} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def _cell(self, case: str, system: str) -> str:
        values = list(self.values(case, system).values())
        if not values:
            return "–"
        unit = next(each.unit for each in self.all if each.case == case)
        spread = f" ({min(values):.3g} – {max(values):.3g})" if len(values) > 1 else ""
        return f"{median(values):.3g}{spread} {unit}"

    def svg(self) -> str:
        rows: dict[str, dict[str, float]] = {}
        for each in self.all:
            rows.setdefault(f"{each.case}, {each.unit}", {})[each.system] = median(self.values(each.case, each.system).values())
        return bar_chart(self.title, rows)

    def section(self, chart: str) -> str:
        picture = f"\n\n![{self.title}]({chart})" if chart else ""
        rounds = max((each.round for each in self.all), default=0)
        return f"{self.how} {machine()} Median (least – most) of {rounds} rounds.\n\n{self.table()}{picture}"

    def finish(self, options: argparse.Namespace) -> int:
        if not self.all:
            return 1
        print("\n" + self.table())
        if options.json:
            options.json.write_text(json.dumps([asdict(each) for each in self.all], indent=1, ensure_ascii=False) + "\n")
        if options.svg:
            options.svg.write_text(self.svg())
        if options.doc:
            chart = os.path.relpath(options.svg, options.doc.parent) if options.svg else ""
            options.doc.write_text(replace_section(options.doc.read_text(), self.name, self.section(chart)))
        return 0


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}."


def add_common_options(parser: argparse.ArgumentParser, *, rounds: int = 3, seconds: float = 2) -> None:
    add = parser.add_argument
    add("--rounds", type=int, default=rounds, metavar="N")
    add("--seconds", type=float, default=seconds, help="of load for each figure")
    add("--json", type=Path, metavar="FILE", help="write every figure")
    add("--svg", type=Path, metavar="FILE", help="draw the medians")
    add("--doc", type=Path, metavar="FILE", help="refresh this measurement's section of the file (between its bench: markers)")
    add("--folder", type=Path, metavar="DIR", help="where caches and files are (default: the temporary folder)")


@contextmanager
def stage(options: argparse.Namespace) -> Iterator[tuple[Crew, Path]]:
    """A crew and its folder; both gone at the end."""
    made = tempfile.TemporaryDirectory(prefix="minicdn-bench-", dir=options.folder, ignore_cleanup_errors=True)
    with made as name, Crew(Path(name), clean_environment()) as crew:
        yield crew, Path(name)


def size_name(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB" if size >= 1 << 10 else f"{size} bytes"


def memory_bytes(pid: int) -> int:
    """What a process and its children hold in memory (RSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return own + sum(memory_bytes(int(child)) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
