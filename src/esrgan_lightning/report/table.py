"""The table of runs, for the page and for other programs."""

from collections.abc import Sequence

from esrgan_lightning.ops import tables
from esrgan_lightning.report.runs import Run, differences

Cell = str | float | int | None


def rows(runs: Sequence[Run]) -> tuple[list[str], list[list[Cell]]]:
    """Heads and cells: run, what differs, state, metrics, updates, seconds, images per second, error."""
    metrics = sorted({name for run in runs for name in run.metrics})
    errors = any(run.error for run in runs)
    heads = ["run", "what differs", "state", *metrics, "updates", "seconds", "images/s"]
    body: list[list[Cell]] = []
    for run, what in zip(runs, differences(runs), strict=True):
        figures = [run.metrics.get(name) for name in metrics]
        cells: list[Cell] = [run.name, what, run.state, *figures, run.updates, run.seconds]
        body.append([*cells, run.images_per_second, *([run.error] if errors else [])])
    return [*heads, *(["error"] if errors else [])], body


def shown(cell: Cell) -> str:
    """A cell's text: four digits after the point for small figures, one for large ones, – for none."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 100 else f"{cell:.1f}"
    return str(cell)


def csv_table(runs: Sequence[Run]) -> str:
    """With full figures; empty where there is none."""
    return tables.csv_text(*rows(runs))


def markdown_table(runs: Sequence[Run]) -> str:
    """A table of Markdown; texts of the runs are no markup in it, so that no reader fetches anything."""
    heads, body = rows(runs)
    escaped = [[tables.markdown(shown(cell)) for cell in row] for row in body]
    return tables.markdown_table([tables.markdown(head) for head in heads], escaped)
