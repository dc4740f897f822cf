"""Results against earlier ones: what moved by more than is tolerated, and what is missing."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.metrics.measures import METRICS
from esrgan_lightning.ops.tables import print_table

#: Name of the mean among those of images.
MEAN = "mean"
_LARGEST = 1 << 28  # bytes: millions of figures


class Change(NamedTuple):
    """A figure that is not what it was; None where it is infinite or undefined."""

    place: tuple[str, str, str, str]  # set, model, image (``mean`` for the mean) and metric
    before: float | None
    after: float | None
    worse: bool  # it moved to the worse side, or cannot be compared


class Comparison(NamedTuple):
    """What moved by more than is tolerated, and what the earlier results have and these lack."""

    changes: tuple[Change, ...]
    missing: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether anything is worse or missing."""
        return bool(self.missing) or any(change.worse for change in self.changes)


def read_results(path: Path) -> dict[str, Any]:
    """Reads what ``esrgan-evaluate`` wrote.

    Raises:
        InputError: The file is missing, larger than 256 MiB, or something else.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST >> 20} MiB")
        results: dict[str, Any] = json.loads(path.read_bytes())
        for _ in _figures(results):
            pass
    except OSError as error:
        raise InputError(f"against={path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise InputError(f"against={path} is no file of results: {error!r}"[:200]) from error
    return results


def compare(results: Results, earlier: Mapping[str, Any], tolerances: Mapping[str, float]) -> Comparison:
    """Each image's figures, and the means, against earlier ones.

    Only what the earlier results have is looked at: sets, models and metrics that are new pass.

    Args:
        results: Of :func:`~esrgan_lightning.evaluation.evaluate`.
        earlier: Of :func:`read_results`.
        tolerances: How far a figure may move, by metric; 0 where a metric is not named.
    """
    now = dict(_figures(results))
    changes, missing = [], set()
    for place, before in _figures(earlier):
        if place not in now:
            missing.add(_first_missing(place, results))
            continue
        after = now[place]
        if before is None or after is None:
            if before is not after:
                changes.append(Change(place, before, after, worse=True))
        elif abs(after - before) > tolerances.get(place[-1], 0.0):
            better = METRICS[place[-1]].higher_is_better == (after > before)
            changes.append(Change(place, before, after, worse=not better))
    return Comparison(tuple(changes), tuple(sorted(missing)))


def print_comparison(comparison: Comparison, *, console: Console | None = None) -> None:
    """Prints a table of what moved, then a line for each set, model, image or metric that is missing."""
    console = console or Console()
    rows = []
    for change in comparison.changes:
        both = change.before is not None and change.after is not None
        difference = f"{change.after - change.before:+.5f}" if both else ""  # type: ignore[operator]
        figures = ("none" if v is None else f"{v:.5f}" for v in (change.before, change.after))
        verdict = Text("worse", "bold red") if change.worse else Text("better", "green")
        rows.append((*change.place, *figures, difference, verdict))
    if rows:
        moved = ("before", "now", "change")
        heads = ["set", "model", "image", "metric", *moved, ""]
        print_table(heads, rows, title="moved by more than is tolerated", figures=moved, console=console)
    for line in comparison.missing:
        console.print(Text(f"missing: {line}"))
    if not comparison.changes and not comparison.missing:
        console.print("nothing moved by more than is tolerated")


def _figures(results: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str, str], float | None]]:
    """Every figure with its place; what is infinite or undefined as None, as in a file."""
    for set_name, by_model in results.items():
        for model, row in by_model.items():
            means = {metric: value for metric, value in row.items() if metric != "images"}
            for image, values in [(MEAN, means), *row["images"].items()]:
                for metric, value in values.items():
                    if metric in METRICS:
                        finite = value is not None and math.isfinite(value)
                        yield (set_name, model, image, metric), value if finite else None


def _first_missing(place: tuple[str, str, str, str], results: Mapping[str, Any]) -> str:
    """The largest part of a place that is not there: a set, a model of it, an image of that, a metric."""
    set_name, model, image, metric = place
    if set_name not in results:
        return f"set {set_name}"
    if model not in results[set_name]:
        return f"model {model} on {set_name}"
    if image != MEAN and image not in results[set_name][model]["images"]:
        return f"image {image} of {model} on {set_name}"
    return f"metric {metric} of {model} on {set_name}"
