"""The ratio by number of peers, as an SVG."""

from __future__ import annotations

from math import isfinite, log2

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 50, 20, 20, 40
RATIO_MAX_LEAST = 1.6
LIMIT = 1.2


COLOURS = ("#06c", "#c60", "#393")


def draw(series: dict[str, list[tuple[int, float]]]) -> str:
    """By name: (peers, slowest ÷ ideal); one without end is left out."""
    series = {name: sorted(point for point in points if isfinite(point[1])) for name, points in series.items()}
    points = [point for points in series.values() for point in points]
    top = max([RATIO_MAX_LEAST, *(ratio for _, ratio in points)])
    widest = max([1.0, *(log2(count) for count, _ in points)])

    def x(count: int) -> float:
        return LEFT + log2(count) / widest * (WIDTH - LEFT - RIGHT)

    def y(ratio: float) -> float:
        return HEIGHT - BOTTOM - (ratio - 1.0) / (top - 1.0) * (HEIGHT - TOP - BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for ratio, words in ((1.0, "ideal"), (LIMIT, f"{LIMIT:g}"), (top, f"{top:.2f}")):
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(ratio):.1f}" y2="{y(ratio):.1f}" stroke="#bbb"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y(ratio) + 4:.1f}" text-anchor="end">{words}</text>')
    for count in sorted({count for count, _ in points}):
        lines.append(f'<text x="{x(count):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count}</text>')
    for place, (name, found) in enumerate(series.items()):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x(count):.1f},{y(ratio):.1f}" for count, ratio in found)
        lines.append(f'<text x="{LEFT + 10}" y="{TOP + 14 + 16 * place}" fill="{colour}">{name}</text>')
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for count, ratio in found:
            title = f"<title>{count} peers, {name}: {ratio:.3f}</title>"
            lines.append(f'<circle cx="{x(count):.1f}" cy="{y(ratio):.1f}" r="3" fill="{colour}">{title}</circle>')
    lines.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">peers; slowest download ÷ ideal</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
