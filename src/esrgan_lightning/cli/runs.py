"""``esrgan runs``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors

if TYPE_CHECKING:
    from esrgan_lightning.report import Run


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs or of sweeps; runs by default.")
    ] = None,
) -> None:
    """List the runs: how far each is, how it ended, its last figures, what it takes on the disk."""
    with one_line_errors("esrgan runs"):
        from esrgan_lightning.report import find_runs
        from esrgan_lightning.report.table import shown

        found = find_runs(folders or [Path("runs")])
        metrics = list(dict.fromkeys(name for run in found for name in run.metrics))
        lines = [["run", "state", "updates", *metrics, "time", "disk", "last written"]]
        for run in found:
            figures = [shown(run.metrics.get(name)) for name in metrics]
            lines.append([run.name, run.state, _updates(run), *figures, *_spent(run)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            typer.echo("  ".join(cells).rstrip())


def _updates(run: "Run") -> str:
    total = run.settings.get("trainer.max_updates")
    return f"{run.updates:,} of {total:,}" if isinstance(total, int) else f"{run.updates:,}"


def _spent(run: "Run") -> tuple[str, str, str]:
    from contextlib import suppress
    from datetime import datetime

    from esrgan_lightning.ops.files import files_below
    from esrgan_lightning.run.progress import duration

    status = []
    for path in files_below(run.folder):
        with suppress(OSError):  # a run that is under way deletes old checkpoints
            status.append(path.stat())
    last = max((each.st_mtime for each in status), default=0)
    written = datetime.fromtimestamp(min(max(last, 0), 2**37))  # a file may claim any time
    size = f"{sum(each.st_size for each in status) / 1e6:,.0f} MB"
    time = "–" if run.seconds is None else duration(run.seconds)
    return time, size, f"{written:%Y-%m-%d %H:%M}"
