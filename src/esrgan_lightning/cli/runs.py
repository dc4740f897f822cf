"""``esrgan runs``, ``report`` and ``push``: what runs have left."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrgan_lightning.errors import InputError

if TYPE_CHECKING:
    from esrgan_lightning.report import Run


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs or of sweeps; runs by default.")
    ] = None,
) -> None:
    """List the runs: how far each is, how it ended, its last figures, what it takes on the disk."""
    from esrgan_lightning.report import find_runs
    from esrgan_lightning.report.runs import shown

    found = find_runs(folders or [Path("runs")])
    metrics = list(dict.fromkeys(name for run in found for name in run.metrics))
    lines = [["run", "state", "updates", *metrics, "time", "disk", "last written"]]
    for run in found:
        total = run.settings.get("trainer.max_updates")
        updates = f"{run.updates:,}" + (f" of {total:,}" if isinstance(total, int) else "")
        figures = [shown(run.metrics.get(name)) for name in metrics]
        lines.append([run.name, run.state, updates, *figures, *_spent(run)])
    # No table of rich's: in a pipe, lines are as long as they need be.
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _spent(run: "Run") -> tuple[str, str, str]:
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


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or of sweeps, as runs/NAME.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A page (.html), or the table alone (.csv, .md).")
    ] = Path("report.html"),
) -> None:
    """Compare runs: what differs, figures, time, learning curves, the same crops side by side."""
    if output.suffix not in (".html", ".csv", ".md"):
        raise InputError(f"--output {output}: end the name in .html, .csv or .md")
    for folder in runs:
        if not folder.exists():
            raise InputError(f"{folder}: there is no such folder")
    from esrgan_lightning.ops.files import write_text
    from esrgan_lightning.report import csv_table, find_runs, markdown_table, report_page

    found = find_runs(runs)
    if output.suffix == ".html":
        text = report_page(found, title=f"{len(found)} runs: {', '.join(map(str, runs))}")
    else:
        text = csv_table(found) if output.suffix == ".csv" else markdown_table(found)
    write_text(output, text)
    failed = sum(run.state in ("failed", "diverged") for run in found)
    note = f", {failed} of them failed or diverged" if failed else ""
    typer.echo(f"{output}: {len(found)} runs{note}")


def push(
    run: Annotated[Path, typer.Argument(help="The folder of a run, as runs/NAME.")],
    to: Annotated[str, typer.Option("--to", help="USER/REPO on the Hub; made if it is not there.")],
    licence: Annotated[
        str | None, typer.Option(help="Of the model, as the Hub writes it: apache-2.0, cc-by-nc-4.0, other.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="For you alone; a public repository is refused.")
    ] = False,
    picture: Annotated[bool, typer.Option(help="With the newest sample, crops of validation photos.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the card; send nothing.")] = False,
) -> None:
    """Upload a run's generator with its settings and a model card: whole, in one commit."""
    from esrgan_lightning.report.card import run_files
    from esrgan_lightning.weights.hub import check_repo, push_hub

    check_repo(to)
    files = run_files(run, to, licence=licence, picture=picture)
    if dry_run:
        typer.echo(files["README.md"].decode())
    else:
        typer.echo(f"{', '.join(files)}: {push_hub(to, files, private=private)}")
    if licence is None:
        typer.echo("note: the card says license: unknown; --licence apache-2.0 states one", err=True)
