"""Finds runs below folders, reads what they have left, and puts it into a table."""

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Any

import yaml  # type: ignore[import-untyped]
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, read_rgb, tables
from esrgan_lightning.ops.files import files_below

Cell = str | float | int | None

logger = logging.getLogger(__name__)

# Where a run lies and how it is watched makes no difference to what it is.
_ASIDE = ("name", "resume", "overwrite", "logger", "callbacks", "metrics", "objective", "init_settings")
# These change how fast it is and what it keeps, and nothing that it learns; so do most of the trainer's.
_WAYS = (
    *("data.num_workers", "data.prepare", "data.cache_dir"),
    *("generator.memory_efficient", "generator.checkpointing"),
)
_TRAINER = tuple(f"trainer.{key}" for key in ("devices", "sync_batchnorm", "precision", "max_updates"))
# A stranger's file may be as large as it likes; these are some ten times what a long run writes.
_YAML_BYTES, _CSV_BYTES = 2**16, 2**26
_COLUMNS, _CELLS = 256, 4_000_000  # of metrics.csv
_LAST_UPDATE = 2**53  # above it a float is another number
_PIXELS = 2**25  # of a grid of crops
_INFINITE = 1e100  # nobody draws a curve to there
_TEXT = 1000  # characters of a text that is shown


@dataclass(frozen=True)
class Run:
    """One run's folder. Its texts have no control characters, and 1,000 characters at most."""

    name: str  # its path, as short as tells it apart
    folder: Path
    state: str  # running (or killed), finished, interrupted, diverged, failed or unknown
    error: str  # the words of what ended it, or ""
    settings: Mapping[str, Any]  # its configuration by dotted keys
    overrides: Sequence[str]  # those that a sweep gave it, or none
    curves: Mapping[str, Sequence[tuple[int, float]]]  # {metric: [(update, value), …]}
    seconds: float | None  # that training took
    samples: Path | None  # its newest picture of crops

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

    A run with a file that cannot be read is left out, with a warning.

    Raises:
        InputError: a folder does not exist, or there is no run that can be read.
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
    runs: list[Run] = []
    for path, name in zip(found, _short_names(list(found)), strict=True):
        try:
            runs.append(read_run(path, name))
        except InputError as error:
            logger.warning("the run %s is left out: %s", _text(name), _text(error))
    if not runs:
        raise InputError(f"none of {len(found)} runs can be read")
    return runs


def differences(runs: Sequence[Run]) -> list[str]:
    """What tells each run from the others: its sweep's overrides, or else the settings that differ.

    Runs of several stages are told apart by their stage, and by what differs within it; settings that change
    nothing that is learnt are left out, and those that repeat another.
    """
    swept = [set(run.overrides) for run in runs if run.overrides]
    common = set.intersection(*swept) if len(swept) > 1 else set()
    return [
        " ".join(each for each in run.overrides if each not in common)
        if run.overrides
        else _settings(run, [each for each in runs if not each.overrides])
        for run in runs
    ]


def _settings(run: Run, among: Sequence[Run]) -> str:
    stage = run.settings.get("stage.name")
    keys = _differing([each for each in among if each.settings.get("stage.name") == stage])
    several = len({repr(each.settings.get("stage.name")) for each in among}) > 1
    shown = [f"stage={_value(stage)}"] if stage and several else []
    return " ".join([*shown, *(f"{key}={_value(run.settings[key])}" for key in keys if key in run.settings)])


def _differing(runs: Sequence[Run]) -> list[str]:
    keys = {key for run in runs for key in run.settings} - set(_WAYS)
    keys = {key for key in keys if not key.startswith("trainer.") or key in _TRAINER}
    values = {key: [repr(run.settings.get(key)) for run in runs if run.settings] for key in sorted(keys)}
    differing = {key: each for key, each in values.items() if len(set(each)) > 1}
    # data.scale says again what scale says.
    return [
        key
        for key, each in differing.items()
        if all(differing.get(key.split(".", cut)[-1]) != each for cut in range(1, key.count(".") + 1))
    ]


def labels(runs: Sequence[Run]) -> list[str]:
    """Names for legends: a sweep's job, whose name is a number, with what differs."""
    return [
        f"{run.name}: {what}"[:80] if what and run.name.rpartition("/")[2].isdecimal() else run.name
        for run, what in zip(runs, differences(runs), strict=True)
    ]


def _value(value: Any) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value))


def _text(value: object) -> str:
    return "".join(each if each.isprintable() else " " for each in str(value)[:_TEXT])


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in path.parts]


def _short_names(paths: Sequence[Path]) -> list[str]:
    if len(paths) == 1:
        return [paths[0].name]
    parts = [path.resolve().parts for path in paths]
    common = len(list(takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))))
    return ["/".join(each[common:]) or each[-1] for each in parts]


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


def shown(cell: Cell, head: str = "") -> str:
    """A cell's text: four digits after the point, one for large figures and rates; – for none."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) >= 100 or head in ("seconds", "images/s") else f"{cell:.4f}"
    return str(cell)


def csv_table(runs: Sequence[Run]) -> str:
    """With full figures; empty where there is none."""
    return tables.csv_text(*rows(runs))


def markdown_table(runs: Sequence[Run]) -> str:
    """A table of Markdown; texts of the runs are no markup in it, so that no reader fetches anything."""
    heads, body = rows(runs)
    escaped = [[tables.markdown(shown(*each)) for each in zip(row, heads, strict=True)] for row in body]
    return tables.markdown_table([tables.markdown(head) for head in heads], escaped)


def read_run(folder: Path, name: str) -> Run:
    """One run's folder, as far as its files are there.

    Raises:
        InputError: a file cannot be read.
    """
    outcome = _yaml(folder / "outcome.json")
    state, error, seconds = (outcome.get(key) for key in ("state", "error", "seconds"))
    if not isinstance(state, str | None) or not isinstance(error, str | None) or not _is_time(seconds):
        raise InputError(f"{folder / 'outcome.json'} is not what a run writes: state, error or seconds")
    overrides = _yaml(folder / "overrides.yaml", kind=list)
    pictures = sample_pictures(folder)
    return Run(
        name=_text(name),
        folder=folder,
        state=_text(state or "unknown"),
        error=_text(error or ""),
        settings={
            _text(key): value
            for key, value in _flat(_yaml(folder / "config.yaml"))
            if key.split(".")[0] not in _ASIDE
        },
        overrides=[_text(each) for each in overrides],
        curves=_curves(folder / "metrics.csv"),
        seconds=seconds,
        samples=pictures[max(pictures)] if pictures else None,
    )


def sample_pictures(folder: Path) -> dict[int, Path]:
    """The grids of crops in a run's folder by their updates."""
    numbers = ((path.stem.removeprefix("update_"), path) for path in folder.glob("samples/update_*.png"))
    return {int(number): path for number, path in numbers if number.isdecimal() and len(number) < 16}


def read_sample(path: Path) -> Tensor:
    """(3,H,W) uint8: a grid of crops; InputError where it cannot be, or is larger than a run writes."""
    height, width = image_size(path)
    if height * width > _PIXELS:
        raise InputError(f"{path} has {width}×{height} pixels: it is not of a run")
    return read_rgb(path)


def _is_time(seconds: Any) -> bool:
    return seconds is None or (type(seconds) in (int, float) and 0 <= seconds < 1e12)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Without aliases: a few of them stand for more than any memory holds, or for themselves."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which no run writes")
        return super().compose_node(parent, index)


def _yaml(path: Path, kind: type[Any] = dict) -> Any:
    """What the file says, in JSON's types; empty where there is none."""
    if not path.is_file():
        return kind()
    text = _read(path, _YAML_BYTES)
    try:
        content = yaml.load(text, _Loader)
        json.dumps(content)
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: it is damaged, or not of a run") from error
    if not isinstance(content, kind):
        raise InputError(f"{path} is not what a run writes: expected a {kind.__name__}")
    return content


def _read(path: Path, largest: int) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if len(data) > largest:
        raise InputError(f"{path} is larger than {largest:,} bytes: it is not of a run")
    return text


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
    rows = csv.DictReader(_read(path, _CSV_BYTES).splitlines())
    try:
        columns = len(rows.fieldnames or ())
        for number, row in enumerate(rows, 1):
            update = int(row.pop("step"))
            if columns > _COLUMNS or number * columns > _CELLS or not 0 <= update <= _LAST_UPDATE:
                raise ValueError(f"{columns:,} columns, row {number:,}, update {update:,}")
            for name, text in row.items():
                if text and abs(value := float(text)) < _INFINITE:
                    curves.setdefault(_text(name), []).append((update, value))
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a run's metrics.csv: {error}") from error
    return curves
