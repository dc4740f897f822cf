"""A sweep's table."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Failed(NamedTuple):
    """What a job returns that could not be done: the other jobs are done nevertheless."""

    reason: str

    @classmethod
    def of(cls, error: object) -> "Failed":
        """Of an exception; that of a spawned process is a whole traceback, told by its last line."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return cls(lines[-1])


class SweepTable(Callback):
    """After ``esrgan-train -m``: one table of all jobs, their overrides and last metrics."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, list[str], dict[str, float] | Failed]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Keeps what a job returned."""
        value = job_return._return_value
        if job_return.status != JobStatus.COMPLETED:
            value = Failed.of(value)
        folder = job_return.hydra_cfg.hydra.runtime.output_dir if job_return.hydra_cfg else ""
        self._rows.append((folder, list(job_return.overrides or []), value))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table; a sweep with a failed job, or with none, exits with 1."""
        done = [value for *_, value in self._rows if not isinstance(value, Failed)]
        metrics = sorted({name for value in done for name in value})
        fixed = set.intersection(*(set(row[1]) for row in self._rows)) if len(self._rows) > 1 else set()
        failed = len(self._rows) - len(done)
        table = Table(title=f"{len(self._rows)} jobs" + (f", {failed} failed" if failed else ""))
        names = ("folder", "overrides", *(name.removeprefix("val/") for name in metrics))
        for column in (*names, "error") if failed else names:
            table.add_column(column, overflow="fold")
        for folder, overrides, value in self._rows:
            differing = " ".join(item for item in overrides if item not in fixed)
            values = {} if isinstance(value, Failed) else value
            shown = (f"{values[name]:.4f}" if name in values else "–" for name in metrics)
            reason = [escape(value.reason)] if isinstance(value, Failed) else []
            table.add_row(escape(_short(folder)), escape(differing), *shown, *reason)
        console = Console()
        # A file has no width: the table then takes what it needs.
        (console if console.is_terminal else Console(width=160)).print(table)
        if len(self._rows) > 1:
            sweep = _short(str(Path(self._rows[0][0]).parent))
            console.print(f"esrgan report {sweep}: curves, and the same crops side by side", markup=False)
        if not self._rows:  # glob(…) finds nothing below a group's own folder, and says nothing
            print("esrgan-train: the sweep has no job: its values match no configuration", file=sys.stderr)
        if failed or not self._rows:
            sys.exit(1)


def _short(folder: str) -> str:
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
