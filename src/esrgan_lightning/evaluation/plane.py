"""The perception-distortion plane: how far from the truth, against how natural."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, final

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.models import BICUBIC
from esrgan_lightning.metrics.measures import METRICS
from esrgan_lightning.ops.picture import plain, png_of

#: The upper ends of the PIRM challenge's regions 1 to 3, in RMSE.
REGIONS = (11.5, 12.5, 16.0)
# Okabe and Ito's colours, which most colour-blind people tell apart; gray is the reference's.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a07440")
_MARKERS = "osD^vP*"
_REFERENCE = "#808080", "X"


@final
@dataclass(frozen=True)
class Plane:
    """What is drawn of an evaluation: a point for each model, and a curve between two of them.

    Attributes:
        x: A metric of distortion, for which lower is better.
        y: A metric of perceptual quality, for which lower is better.
        curve: The models along the interpolation with their α, the ends at 0 and 1; empty for none.
        regions: Draw the ends of PIRM's regions, :data:`REGIONS`.

    Raises:
        InputError: No metric, one for which higher is better, twice the same, or regions of another x than
            ``rmse_y``.

    Source:
        Blau and Michaeli, "The perception-distortion tradeoff", CVPR 2018; Blau et al., "The 2018 PIRM
        challenge on perceptual image super-resolution", section 3; ESRGAN, section 5.
    """

    x: str = "rmse_y"
    y: str = "niqe"
    curve: Mapping[str, float] = field(default_factory=dict)
    regions: bool = False

    def __post_init__(self) -> None:
        lower = [name for name, measure in METRICS.items() if not measure.higher_is_better]
        for key in ("x", "y"):
            if getattr(self, key) not in lower:
                known = f"give one for which lower is better, {', '.join(lower)}"
                raise InputError(f"plane.{key}={getattr(self, key)}: {known}")
        if self.x == self.y:
            raise InputError(f"plane.x and plane.y are both {self.x}: give two metrics")
        if self.regions and self.x != "rmse_y":
            raise InputError(f"plane.regions=true are bounds of rmse_y, and plane.x={self.x}")

    def points(self, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
        """(x, y) of each model of a set; one without both figures has no point."""
        found = {name: (float(row[self.x]), float(row[self.y])) for name, row in rows.items()}
        return {name: pair for name, pair in found.items() if all(map(math.isfinite, pair))}

    def along(self, points: Mapping[str, tuple[float, float]]) -> list[tuple[float, float, float]]:
        """(α, x, y) along the curve."""
        return sorted((alpha, *points[name]) for name, alpha in self.curve.items() if name in points)


def plane_png(results: Results, plane: Plane, *, scale: int) -> bytes:
    """A PNG with a panel for each set; the models' names stand beside them, where they cover nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(results) + 2, 4.2), layout="constrained")
    handles: dict[str, Any] = {}
    for index, (set_name, rows) in enumerate(results.items()):
        axes = figure.add_subplot(1, len(results), index + 1)
        points = plane.points(rows)
        along = plane.along(points)
        if along:
            xs, ys = [p[1] for p in along], [p[2] for p in along]
            (line,) = axes.plot(xs, ys, ".-", color="#444444", lw=1.2, zorder=1)
            handles.setdefault("interpolation over α", line)
        styles = cycle(zip(_COLOURS, _MARKERS, strict=True))
        for name in rows:
            if plane.curve.get(name, 0) not in (0, 1):  # it lies along the curve
                continue
            colour, marker = _REFERENCE if name == BICUBIC else next(styles)
            if name in points:
                drawn = axes.scatter(*points[name], c=colour, marker=marker, s=60, zorder=2)
                handles.setdefault(name, drawn)
        axes.margins(0.12)
        if plane.regions:
            for number, bound in enumerate(REGIONS, 1):
                axes.axvline(bound, color="gray", ls=":", lw=1)
                above = axes.get_xaxis_transform()
                axes.text(bound, 0.99, f"R{number} ", transform=above, ha="right", va="top", color="gray")
        _alphas(axes, along)
        axes.text(0.02, 0.02, "↙ better", transform=axes.transAxes, color="gray")
        for axis, metric in ((axes.xaxis, plane.x), (axes.yaxis, plane.y)):
            axis.set_label_text(f"{metric.replace('_', '-').upper()} (lower is better)")
        axes.set_title(plain(f"{set_name} ×{scale}"))
        axes.grid(alpha=0.3)
    if handles:
        figure.legend(list(handles.values()), [plain(name) for name in handles], loc="outside right upper")
    return png_of(figure)


def _alphas(axes: Any, along: Sequence[tuple[float, float, float]]) -> None:
    """Writes α beside the curve where there is room from the label before and from the ends' marks."""
    axes.autoscale_view()  # else only drawing sets the limits
    places = [axes.transData.transform(point[1:]) for point in along]
    taken = [places[0], places[-1]] if places else []
    for (alpha, x, y), place in list(zip(along, places, strict=True))[1:-1]:
        if all(math.dist(place, other) > 25 for other in taken):
            axes.annotate(f"{alpha:g}", (x, y), (4, 5), textcoords="offset points", fontsize=7.5)
            taken.append(place)
