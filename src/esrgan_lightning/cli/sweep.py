"""A sweep's table."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.utils import get_object
from omegaconf import DictConfig
from rich.console import Console

from esrgan_lightning.config import chosen_metrics
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.ops.tables import print_table


class Failed(NamedTuple):
    """What a job returns that could not be done: the other jobs are done nevertheless."""

    reason: str

    @classmethod
    def of(cls, error: object) -> "Failed":
        """Of an exception; that of a spawned process is a whole traceback, told by its last line."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return cls(lines[-1])


# The figures of stage=material's validation: whether higher is better.
_MATERIAL = {"accuracy": True, "accuracy_top5": True, "loss": False}


class Metrics(dict[str, float]):
    """A job's metrics, and as a number the one that Optuna is to optimise."""

    def __init__(self, values: Mapping[str, float], objective: str) -> None:
        super().__init__(values)
        self.objective = objective

    def __float__(self) -> float:
        return self[f"val/{self.objective}"]


def check_objective(cfg: DictConfig, direction: object = None) -> None:
    """Says before a search trains for hours that it would not find what is looked for.

    Of Hydra's sweepers, only one that searches has a ``direction``.
    """
    objective = cfg.objective
    if objective is None and direction is None:
        return
    metrics = chosen_metrics(cfg.metrics) if "metrics" in cfg else {}  # stage=material has its own
    names = list(metrics or _MATERIAL)
    if objective not in names:
        raise InputError(f"objective={objective}: say what is optimised, one of {', '.join(names)}")
    if direction is None:
        return
    higher = _higher(objective, metrics[objective]) if metrics else _MATERIAL[objective]
    right = {True: "maximize", False: "minimize"}.get(higher)
    given = getattr(direction, "name", direction)
    if None not in (given, right) and given != right:
        what = "higher" if higher else "lower"
        raise InputError(f"hydra.sweeper.direction={given}, but of {objective} {what} is better")


def _higher(name: str, settings: Mapping[str, Any]) -> Any:
    """Whether higher is better; another value where the metric's class does not say."""
    from esrgan_lightning.metrics.measures import METRICS

    metric = get_object(settings["_target_"]) if "_target_" in settings else METRICS[name]
    return getattr(metric, "higher_is_better", None)


class SweepTable(Callback):
    """After ``esrgan-train -m``: one table of all jobs, their overrides and last metrics.

    Launchers run jobs in other processes, perhaps on other machines, with a copy of this object: what a job
    returned comes back as a file in a hidden folder of the sweep's, which the table's end removes.
    """

    def __init__(self) -> None:
        self._notes: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Makes the folder for what the jobs return."""
        sweep = Path(config.hydra.sweep.dir).absolute()
        sweep.mkdir(parents=True, exist_ok=True)
        for left in sweep.glob(".jobs-*"):  # of a sweep that was killed
            shutil.rmtree(left)
        self._notes = Path(mkdtemp(prefix=".jobs-", dir=sweep))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Notes what a job returned."""
        if self._notes is None:  # a single run
            return
        value = job_return._return_value
        if job_return.status != JobStatus.COMPLETED:
            value = Failed.of(value)
        hydra = config.hydra
        note = {
            "folder": str(hydra.runtime.output_dir),
            "overrides": list(job_return.overrides or []),
            **({"error": value.reason} if isinstance(value, Failed) else {"metrics": value}),
        }
        write_whole(self._notes / f"{hydra.job.num}.json", json.dumps(note).encode())

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table; a sweep with a failed job, or with none, exits with 1."""
        assert self._notes is not None, "a sweep begins with on_multirun_start"
        files = sorted(self._notes.glob("*.json"), key=lambda file: int(file.stem))
        jobs = [json.loads(file.read_text("utf-8")) for file in files]
        shutil.rmtree(self._notes)
        metrics = sorted({name for job in jobs for name in job.get("metrics", ())})
        fixed = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
        failed = sum("error" in job for job in jobs)
        heads = ["folder", "overrides", *(name.removeprefix("val/") for name in metrics)]
        body = []
        for job in jobs:
            differing = " ".join(item for item in job["overrides"] if item not in fixed)
            values = job.get("metrics", {})
            shown = (f"{values[name]:.4f}" if name in values else "–" for name in metrics)
            reason = [job["error"]] if "error" in job else []
            body.append([_short(job["folder"]), differing, *shown, *reason])
        console = Console()
        print_table(
            [*heads, "error"] if failed else heads,
            body,
            title=f"{len(jobs)} jobs" + (f", {failed} failed" if failed else ""),
            # A file has no width: the table then takes what it needs.
            console=console if console.is_terminal else Console(width=160),
        )
        if len(jobs) > 1:
            sweep = _short(str(Path(jobs[0]["folder"]).parent))
            console.print(f"esrgan report {sweep}: curves, and the same crops side by side", markup=False)
        if not jobs:  # glob(…) finds nothing below a group's own folder, and says nothing
            print("esrgan-train: the sweep has no job: its values match no configuration", file=sys.stderr)
        if failed or not jobs:
            sys.exit(1)


def _short(folder: str) -> str:
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
