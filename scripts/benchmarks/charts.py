"""Charts as SVG: lines over one axis of numbers, with their points' values readable. Light and dark backgrounds both do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from statistics import median
from xml.sax.saxutils import escape

from scripts.benchmarks.outcome import Outcome
from scripts.benchmarks.report import groups

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 168, 48, 56
COLOURS = {"minicdn": "#1f77b4", "plain": "#8c8c8c", "libtorrent": "#e0802b", "libtorrent-webseed": "#b55fb0", "ideal": "#2ca02c"}
_OTHER = "#808080"

Line = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a value lies on the paper. x positions are evenly spaced for the given values; y begins at zero."""

    xs: tuple[float, ...]
    y_max: float

    def x(self, value: float) -> float:
        width = WIDTH - LEFT - RIGHT
        return LEFT + width * (self.xs.index(value) + 0.5) / len(self.xs)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_max


def time_by_peers(outcomes: Sequence[Outcome]) -> str:
    """Medians of the slowest peer's time, for the runs without slow or killed peers, beside the ideal."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for runs in groups([run for run in outcomes if run.is_whole and not run.scenario.slow_count and not run.scenario.kill_count]):
        scenario = runs[0].scenario
        lines.setdefault(runs[0].system, []).append((scenario.peers, median(run.slowest_seconds for run in runs)))
        ideal = (scenario.peers, scenario.ideal_seconds())
        if ideal not in lines.setdefault("ideal", []):
            lines["ideal"].append(ideal)
    return line_chart("Cold download: the slowest of N peers", "N, peers", "seconds", lines)


def line_chart(title: str, x_name: str, y_name: str, lines: Mapping[str, Line]) -> str:
    xs = tuple(sorted({x for line in lines.values() for x, _ in line})) or (0,)
    highest = max((y for line in lines.values() for _, y in line), default=1.0)
    step = nice_step(highest)
    frame = Frame(xs, step * max(ceil(highest / step), 1))
    parts = [*_paper(title, x_name, y_name), *_grid(frame, step)]
    for name, line in lines.items():
        parts += _drawn(frame, name, sorted(line))
    parts += _legend(list(lines))
    return "\n".join([*parts, "</svg>"]) + "\n"


def nice_step(highest: float, count: int = 5) -> float:
    """1, 2 or 5 times a power of ten, so that about `count` steps reach the highest value."""
    rough = max(highest, 1e-9) / count
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _paper(title: str, x_name: str, y_name: str) -> list[str]:
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="{_OTHER}">',
        f"<title>{escape(title)}</title>",
        _text(LEFT, 26, title, 'font-size="16"'),
        _text(middle, HEIGHT - 14, x_name, 'text-anchor="middle"'),
        _text(LEFT - 8, TOP - 10, y_name, 'text-anchor="end"'),
    ]


def _grid(frame: Frame, step: float) -> list[str]:
    parts = []
    for index in range(round(frame.y_max / step) + 1):
        y = frame.y(index * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{_OTHER}" stroke-opacity="0.3"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{index * step:g}", 'text-anchor="end"'))
    return [*parts, *(_text(frame.x(x), HEIGHT - BOTTOM + 20, f"{x:g}", 'text-anchor="middle"') for x in frame.xs)]


def _drawn(frame: Frame, name: str, line: Line) -> list[str]:
    colour = COLOURS.get(name, _OTHER)
    points = [(frame.x(x), frame.y(y), y) for x, y in line]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    dashes = ' stroke-dasharray="6 4"' if name == "ideal" else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>']
    for x, y, value in points:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(name)}: {value:.2f}</title></circle>')
    return parts


def _legend(names: Sequence[str]) -> list[str]:
    x, parts = WIDTH - RIGHT + 16, []
    for index, name in enumerate(names):
        y, colour = TOP + 12 + 22 * index, COLOURS.get(name, _OTHER)
        parts.append(f'<path d="M{x} {y}h20" stroke="{colour}" stroke-width="3"/>')
        parts.append(_text(x + 28, y + 4, name))
    return parts


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'
