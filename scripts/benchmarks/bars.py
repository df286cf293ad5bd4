"""Bars as SVG: for each case a group, in it a bar for each system, as long as its figure beside the group's longest."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.benchmarks.charts import _OTHER, COLOURS, _text

WIDTH, LEFT, TOP, BAR, GAP = 720, 210, 72, 16, 14


def bar_chart(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """rows: a case's name, and in it the figure of each system."""
    systems = list(dict.fromkeys(system for figures in rows.values() for system in figures))
    height = TOP + sum(len(figures) * BAR + GAP for figures in rows.values()) + GAP
    paper = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" fill="{_OTHER}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {paper}>', f"<title>{title}</title>", _text(14, 26, title, 'font-size="16"')]
    for index, system in enumerate(systems):
        x = LEFT + index * 120
        parts.append(f'<rect x="{x}" y="42" width="14" height="14" fill="{COLOURS.get(system, _OTHER)}"/>')
        parts.append(_text(x + 20, 54, system))
    y = TOP
    for case, figures in rows.items():
        parts.append(_text(LEFT - 10, y + len(figures) * BAR / 2 + 4, case, 'text-anchor="end"'))
        longest = max(figures.values()) or 1.0
        for system, value in figures.items():
            width = (WIDTH - LEFT - 90) * value / longest
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS.get(system, _OTHER)}"/>')
            parts.append(_text(LEFT + width + 8, y + BAR - 4, f"{value:.3g}"))
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>"]) + "\n"
