"""A sweep's table."""

from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table


class SweepTable(Callback):
    """After ``esrgan-train -m``: one table of all jobs, their overrides and last metrics."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, list[str], dict[str, float] | str]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Keeps what a job returned."""
        failed = job_return.status != JobStatus.COMPLETED
        value = f"failed: {job_return._return_value}" if failed else dict(job_return.return_value or {})
        hydra_cfg = job_return.hydra_cfg.hydra if job_return.hydra_cfg else None
        folder = hydra_cfg.runtime.output_dir if hydra_cfg else ""
        self._rows.append((folder, list(job_return.overrides or []), value))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table."""
        metrics = sorted({name for *_, value in self._rows if isinstance(value, dict) for name in value})
        fixed = set.intersection(*(set(row[1]) for row in self._rows)) if len(self._rows) > 1 else set()
        table = Table(title=f"{len(self._rows)} jobs")
        for column in ("folder", "overrides", *metrics):
            table.add_column(column, overflow="fold")
        for folder, overrides, value in self._rows:
            differing = " ".join(item for item in overrides if item not in fixed)
            if isinstance(value, str):
                table.add_row(folder, differing, value)
            else:
                table.add_row(folder, differing, *(f"{value[m]:.4f}" if m in value else "–" for m in metrics))
        Console().print(table)
