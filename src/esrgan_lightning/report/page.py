"""Runs as one page for the browser: table, learning curves, crops. It asks for nothing from anywhere."""

import logging
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.html import html_document
from esrgan_lightning.ops.picture import columns, plain, png_of, webp
from esrgan_lightning.report.runs import Run, labels, read_sample, rows, shown

logger = logging.getLogger(__name__)

# Of a run's pictures of crops, run/callbacks.py.
_LABELS = ("LR", "bicubic", "SR", "HR")
_FIRST = [f"train/{name}" for name in ["loss", "loss_g", "loss_d", "pixel", "perceptual", "adversarial"]]


def report_page(runs: Sequence[Run], *, title: str) -> str:
    """The HTML document, of :func:`~esrgan_lightning.report.find_runs`'s runs."""
    heads, body = rows(runs)
    return html_document(
        Path(__file__).with_name("page.html"),
        title=title,
        heads=heads,
        rows=list(zip(runs, body, strict=True)),
        shown=shown,
        charts={name: png_of(chart(name, runs), dpi=130) for name in _charted(runs)},
        crops=_crops(runs),
    )


def _charted(runs: Sequence[Run]) -> list[str]:
    """Validation first; a curve of one point is none: the table has it."""
    there = {name for run in runs for name, points in run.curves.items() if len(points) > 1}
    return [*sorted(name for name in there if name.startswith("val/")), *(n for n in _FIRST if n in there)]


def chart(name: str, runs: Sequence[Run]) -> Figure:
    """A metric's curve of each run over updates; of a few updates each is marked: one alone is seen."""
    several = len(runs) > 1
    figure = Figure(figsize=(7, 3.6 + 0.19 * len(runs) * several), layout="constrained")
    axes = figure.add_subplot(xlabel="update", title=plain(name))
    for number, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        if points := run.curves.get(name):
            updates, values = zip(*points, strict=True)
            axes.plot(
                updates,
                values,
                color=f"C{number % 10}",
                linestyle=("-", "--", ":")[number // 10 % 3],
                marker="o" if len(points) < 12 else None,
                markersize=4,
                label=plain(label),
            )
    axes.grid(alpha=0.3)
    if several:
        figure.legend(loc="outside lower left", fontsize=8)
    return figure


def _crops(runs: Sequence[Run]) -> list[list[tuple[str, bytes]]]:
    """LR, bicubic and HR once, and each run's SR; runs that were judged by other photos stand apart."""
    alike: list[tuple[list[Tensor], list[tuple[str, bytes]]]] = []
    for run, label in zip(runs, labels(runs), strict=True):
        if run.samples is None:
            continue
        try:
            mine = columns(read_sample(run.samples), _LABELS)
        except InputError as error:
            logger.warning("the crops of %s are left out: %s", run.name, error)
            continue
        same = (made for given, made in alike if given[3].equal(mine[3]) and given[0].equal(mine[0]))
        made = next(same, None)
        if made is None:
            alike.append((mine, made := []))
        made.append((label, webp(mine[2])))
    return [
        [("LR", webp(given[0])), ("bicubic", webp(given[1])), *made, ("HR", webp(given[3]))]
        for given, made in alike
    ]
