"""Finds runs below folders and reads what they have left."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml  # type: ignore[import-untyped]

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import files_below

# Where a run lies and how it is watched makes no difference to what it is.
_ASIDE = ("name", "resume", "overwrite", "logger", "metrics", "init_settings")
_LARGEST = 64 * 2**20  # bytes of a file that is read


@dataclass(frozen=True)
class Run:
    """One run's folder.

    Attributes:
        name: its path, as short as tells it apart.
        folder: the path.
        state: ``running`` (or killed), ``finished``, ``interrupted``, ``diverged``, ``failed``, or
            ``unknown`` where nothing says.
        error: the words of what ended it, or "".
        settings: its configuration by dotted keys; the overrides alone of a job that got no further.
        overrides: those that the sweep gave it, or none.
        curves: ``{metric: [(update, value), …]}``.
        seconds: that training took, or None.
        samples: its newest picture of crops, or None.
    """

    name: str
    folder: Path
    state: str
    error: str
    settings: Mapping[str, Any]
    overrides: Sequence[str]
    curves: Mapping[str, Sequence[tuple[int, float]]]
    seconds: float | None
    samples: Path | None

    @property
    def updates(self) -> int:
        """The last update that was logged; 0 for none."""
        return max((points[-1][0] for points in self.curves.values() if points), default=0)

    @property
    def metrics(self) -> dict[str, float]:
        """The last validation's figures, without ``val/``."""
        return {
            name.removeprefix("val/"): points[-1][1]
            for name, points in self.curves.items()
            if name.startswith("val/")
        }

    @property
    def images_per_second(self) -> float | None:
        """The median over the logged updates."""
        points = self.curves.get("images_per_second")
        return median(value for _, value in points) if points else None


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """All runs at or below the folders, by their paths; numbers count as numbers.

    Raises:
        InputError: a folder does not exist, there is no run, or a run's file cannot be read.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: give the folders of runs, as runs/NAME")
        marks = [path for path in files_below(folder) if path.name in ("config.yaml", "outcome.json")]
        below = {path.parent for path in marks if "checkpoints" not in path.parts}
        found |= dict.fromkeys(sorted(below, key=_by_number))
    if not found:
        raise InputError(f"no run below {', '.join(map(str, folders))}: a run's folder holds config.yaml")
    names = _short_names(list(found))
    return [read_run(path, name) for path, name in zip(found, names, strict=True)]


def differences(runs: Sequence[Run]) -> list[str]:
    """What tells each run from the others: its sweep's overrides, or else the settings that differ."""
    if all(run.overrides for run in runs):
        common = set.intersection(*(set(run.overrides) for run in runs)) if len(runs) > 1 else set()
        return [" ".join(each for each in run.overrides if each not in common) for run in runs]
    keys = {key for run in runs for key in run.settings}
    differing = [
        key for key in sorted(keys) if len({repr(run.settings.get(key)) for run in runs if run.settings}) > 1
    ]
    return [
        " ".join(f"{key}={_value(run.settings[key])}" for key in differing if key in run.settings)
        for run in runs
    ]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in path.parts]


def _short_names(paths: Sequence[Path]) -> list[str]:
    parents = [path.resolve().parts for path in paths]
    common = 0
    while len(paths) > 1 and len({parts[: common + 1] for parts in parents}) == 1:
        common += 1
    return ["/".join(parts[common:]) or parts[-1] for parts in parents] if len(paths) > 1 else [paths[0].name]


def read_run(folder: Path, name: str) -> Run:
    """One run's folder, as far as its files are there.

    Raises:
        InputError: a file cannot be read.
    """
    outcome = _yaml(folder / "outcome.json")
    config = _yaml(folder / "config.yaml")
    overrides = _yaml(folder / "overrides.yaml", kind=list)
    pictures = sorted((folder / "samples").glob("update_*.png"))
    seconds = outcome.get("seconds")
    return Run(
        name=name,
        folder=folder,
        state=str(outcome.get("state", "unknown")),
        error=str(outcome.get("error", "")),
        settings={k: v for k, v in _flat(config) if k.split(".")[0] not in _ASIDE},
        overrides=[str(each) for each in overrides],
        curves=_curves(folder / "metrics.csv"),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        samples=pictures[-1] if pictures else None,
    )


def _yaml(path: Path, kind: type[Any] = dict) -> Any:
    """What the file says; empty where there is none."""
    if not path.is_file():
        return kind()
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large to be a run's file")
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: it is damaged, or not of a run") from error
    if not isinstance(content, kind):
        raise InputError(f"{path} is not what a run writes: expected a {kind.__name__}")
    return content


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return flat


def _curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    if not path.is_file():
        return {}
    curves: dict[str, list[tuple[int, float]]] = {}
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large to be a run's file")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                update = int(row.pop("step"))
                for name, text in row.items():
                    if text and math.isfinite(value := float(text)):
                        curves.setdefault(name, []).append((update, value))
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a run's metrics.csv: {error}") from error
    return curves
