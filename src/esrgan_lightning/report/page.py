"""Runs as one page for the browser: table, learning curves, crops. It asks for nothing from anywhere."""

import io
import logging
from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.html import data_url, html_document
from esrgan_lightning.ops.picture import columns
from esrgan_lightning.report.runs import Run, labels, read_sample
from esrgan_lightning.report.table import Cell, rows, shown

logger = logging.getLogger(__name__)

# Of a run's pictures of crops, stages/callbacks.py.
_LABELS = ("LR", "bicubic", "SR", "HR")
_FIRST = (
    "train/loss",
    "train/loss_g",
    "train/loss_d",
    "train/pixel",
    "train/perceptual",
    "train/adversarial",
)


def report_page(runs: Sequence[Run], *, title: str) -> str:
    """The HTML document.

    Args:
        runs: of :func:`~esrgan_lightning.report.find_runs`.
        title: a heading.
    """
    # Names, settings and errors come from files that may be anybody's: every one of them is escaped.
    return html_document(
        __package__,
        "page.html",
        title=title,
        table=_table(runs),
        curves="\n".join(_chart(name, runs) for name in _charted(runs)),
        crops="\n".join(_crops(runs)),
    )


def _table(runs: Sequence[Run]) -> str:
    heads, body = rows(runs)
    head = "".join(f'<th scope="col"><button type="button">{escape(each)}</button></th>' for each in heads)
    lines = ("".join(_cell(cell) for cell in row) for row in body)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>\n"
        + "\n".join(
            f'<tr class="{escape(run.state)}">{line}</tr>' for run, line in zip(runs, lines, strict=True)
        )
        + "</tbody></table>"
    )


def _cell(cell: Cell) -> str:
    number = "" if isinstance(cell, str) else f' class="figure" data-value="{"" if cell is None else cell}"'
    return f"<td{number}>{escape(shown(cell))}</td>"


def _charted(runs: Sequence[Run]) -> list[str]:
    """Validation first; a curve of one point is none: the table has it."""
    there = {name for run in runs for name, points in run.curves.items() if len(points) > 1}
    return [*sorted(name for name in there if name.startswith("val/")), *(n for n in _FIRST if n in there)]


def chart(name: str, runs: Sequence[Run]) -> Figure:
    """A curve of each run over updates; of a few updates each is marked, so that one alone is seen.

    Args:
        name: Of the metric.
        runs: With their names in the legend, where there are several.
    """
    several = len(runs) > 1
    figure = Figure(figsize=(7, 3.6 + 0.17 * len(runs) * several), layout="constrained")
    axes = figure.add_subplot(xlabel="update", title=_plain(name))
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
                label=_plain(label),
            )
    axes.grid(alpha=0.3)
    if several:
        figure.legend(loc="outside lower left", fontsize=7)
    return figure


def _chart(name: str, runs: Sequence[Run]) -> str:
    data = io.BytesIO()
    chart(name, runs).savefig(data, format="png", dpi=130)
    return f'<img class="chart" alt="{escape(name)} over updates" src="{data_url(data.getvalue(), "png")}">'


def _plain(text: str) -> str:
    """Matplotlib takes what stands between dollars for formulas."""
    return text.replace("$", r"\$")


def _crops(runs: Sequence[Run]) -> list[str]:
    """LR, bicubic and HR once, and each run's SR; runs that were judged by other photos stand apart."""
    alike: list[tuple[list[Tensor], list[tuple[str, Tensor]]]] = []
    for run, label in zip(runs, labels(runs), strict=True):
        if run.samples is None:
            continue
        try:
            mine = columns(read_sample(run.samples), _LABELS)
        except InputError as error:
            logger.warning("the crops of %s are left out: %s", run.name, error)
            continue
        group = next(
            (each for each in alike if each[0][3].equal(mine[3]) and each[0][0].equal(mine[0])), None
        )
        if group is None:
            alike.append(group := (mine, []))
        group[1].append((label, mine[2]))
    return [
        '<div class="row">'
        + "".join(
            _figure(name, picture)
            for name, picture in (
                ("LR", given[0]),
                ("bicubic", given[1]),
                *pictures,
                ("HR", given[3]),
            )
        )
        + "</div>"
        for given, pictures in alike
    ]


def _figure(name: str, picture: Tensor) -> str:
    data = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(data, "WEBP", lossless=True)
    return (
        f'<figure><img alt="{escape(name)}" src="{data_url(data.getvalue(), "webp")}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )
