"""Looks at a run while it trains: its folder's files, nothing else."""

from pathlib import Path

from esrgan_lightning.errors import InputError
from esrgan_lightning.report.runs import Run, read_run

_RUNS = 500


def run_names(runs: Path) -> list[str]:
    """The runs below a folder, newest first; a sweep's as SWEEP/JOB."""
    if not runs.is_dir():
        return []
    folders = {
        path.parent for pattern in ("*", "*/*", "*/*/*") for path in runs.glob(f"{pattern}/config.yaml")
    }
    folders = {path for path in folders if "checkpoints" not in path.parts}
    newest = sorted(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime, reverse=True)
    return [folder.relative_to(runs).as_posix() for folder in newest[:_RUNS]]


def look(runs: Path, name: str) -> Run:
    """What a run has left so far.

    Raises:
        InputError: no run of that name (whatever it may point to), or files that cannot be read.
    """
    if name not in run_names(runs):
        raise InputError(f"there is no run {name}")
    return read_run(runs / name, name)


def status(run: Run) -> str:
    """A line: how it stands, how far it is, the last figures."""
    words = [f"{run.name}: {run.state}", f"update {run.updates:,}"]
    if run.images_per_second is not None:
        words.append(f"{run.images_per_second:.1f} images/s")
    words += [f"{name} {value:.4g}" for name, value in run.metrics.items()]
    if run.error:
        words.append(run.error)
    return " · ".join(words)
