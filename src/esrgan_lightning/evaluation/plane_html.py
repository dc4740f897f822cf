"""The perception-distortion plane as a page for the browser: one file, figures where the mouse points."""

import math
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.measures import convention
from esrgan_lightning.evaluation.plane import BETTER, REGIONS, Plane, label
from esrgan_lightning.evaluation.tables import shown

# The drawing in units of its own; the axes' box lies from _LEFT to _RIGHT and from _TOP to _FOOT.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 640, 440, 64, 624, 16, 384


def plane_page(results: Results, plane: Plane, *, scale: int) -> str:
    """One HTML document that asks for nothing from anywhere; a drawing for each set.

    Each point tells its model and figures where the mouse or the keyboard's focus is, and the legend, which
    tells them too, shows which point is whose.
    """
    # Names come from files that may be anybody's: every one of them is escaped.
    drawings = [
        f"<section><h2>{escape(name)} ×{scale}</h2>\n{_drawing(rows, plane)}</section>"
        for name, rows in results.items()
    ]
    return Template(files(__package__).joinpath("plane.html").read_text("utf-8")).substitute(
        title=escape(f"Perception and distortion ×{scale}: {', '.join(results)}"),
        drawings="\n".join(drawings),
        convention=escape(convention([plane.x, plane.y])),
    )


def _drawing(rows: dict[str, dict[str, Any]], plane: Plane) -> str:
    points = plane.points(rows)
    if not points:
        return "<p>No model has both figures.</p>"
    bounds = REGIONS if plane.regions else ()
    x, vertical = _axis([*(p[0] for p in points.values()), *bounds], _LEFT, _RIGHT)
    y, horizontal = _axis([p[1] for p in points.values()], _FOOT, _TOP)
    parts = []
    for tick in vertical:
        parts += [_line(x(tick), _TOP, x(tick), _FOOT), _text(x(tick), _FOOT + 18, f"{tick:g}")]
    for tick in horizontal:
        parts += [_line(_LEFT, y(tick), _RIGHT, y(tick)), _text(_LEFT - 8, y(tick) + 4, f"{tick:g}", "end")]
    middle = (_TOP + _FOOT) / 2
    parts += [
        _text((_LEFT + _RIGHT) / 2, _HEIGHT - 14, label(plane.x)),
        f'<g transform="translate(16 {middle}) rotate(-90)">{_text(0, 0, label(plane.y))}</g>',
        _text(_LEFT + 8, _FOOT - 8, BETTER, "start"),
    ]
    for number, bound in enumerate(bounds, 1):
        parts.append(_line(x(bound), _TOP, x(bound), _FOOT, "bound"))
        parts.append(_text(x(bound) - 4, _TOP + 12, f"R{number}", "end"))
    if along := plane.along(points):
        path = " ".join(f"{x(px):.1f},{y(py):.1f}" for _, px, py in along)
        parts.append(f'<polyline class="curve" points="{path}"/>')
    marks = plane.marks(rows)
    legend = []
    # What lies along the curve first: the models' marks are drawn over it.
    for name in sorted(points, key=marks.__contains__):
        px, py = points[name]
        figures = f"{plane.x} {shown(px, plane.x)}, {plane.y} {shown(py, plane.y)}"
        colour, radius = (marks[name][0], 7) if name in marks else ("currentColor", 3.5)
        parts.append(
            f'<circle class="point" cx="{x(px):.1f}" cy="{y(py):.1f}" r="{radius}" fill="{colour}" '
            f'tabindex="0" role="img" data-name="{escape(name)}" aria-label="{escape(name)}: {figures}"/>'
        )
    for name in rows:
        key = f' style="background:{marks[name][0]}"' if name in marks else ' class="small"'
        found = ", ".join(
            f"{metric} {shown(float(rows[name][metric]), metric)}" for metric in (plane.x, plane.y)
        )
        legend.append(f'<li data-name="{escape(name)}"><i{key}></i> <b>{escape(name)}</b> {found}</li>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>\n<ul>{"".join(legend)}</ul>'


def _axis(values: Sequence[float], start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """From a figure to its place between ``start`` and ``end``, and the round figures to be marked."""
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 0.05 * abs(low) or 1.0
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return start + (end - start) * (value - low) / (high - low)

    return place, ticks(low, high)


def ticks(low: float, high: float, *, most: int = 7) -> list[float]:
    """Round figures from ``low`` to ``high``, at most some ``most`` of them.

    >>> ticks(10.2, 14.9)
    [11.0, 12.0, 13.0, 14.0]
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    return [round(n * step, 10) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
