"""``esrgan report``."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.errors import InputError


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or of sweeps, as runs/NAME.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A page (.html), or the table alone (.csv, .md).")
    ] = Path("report.html"),
) -> None:
    """Compare runs: what differs, figures, time, learning curves, the same crops side by side."""
    with one_line_errors("esrgan report"):
        if output.suffix not in (".html", ".csv", ".md"):
            raise InputError(f"--output {output}: end the name in .html, .csv or .md")
        for folder in runs:
            if not folder.exists():
                raise InputError(f"{folder}: there is no such folder")
        from esrgan_lightning.evaluation.report import write_text
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
