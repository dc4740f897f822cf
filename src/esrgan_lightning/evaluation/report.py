"""Results for people and for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.measures import METRICS, convention
from esrgan_lightning.ops.files import whole_file


def print_table(
    results: Results, metrics: Sequence[str], *, scale: int, console: Console | None = None
) -> None:
    """Prints a table of means for each set, and under them what the figures mean."""
    console = console or Console()
    for set_name, rows in results.items():
        count = len(next(iter(rows.values()))["images"])
        images = "1 image" if count == 1 else f"mean of {count} images"
        # Text: square brackets in a name are no markup.
        table = Table(title=Text(f"{set_name} x{scale}, {images}"))
        table.add_column("model", overflow="fold")
        for metric in metrics:
            table.add_column(metric, justify="right", no_wrap=True)
        for name, row in rows.items():
            table.add_row(Text(name), *(f"{row[m]:.{METRICS[m].digits}f}" for m in metrics))
        console.print(table)
    console.print(convention(metrics), style="dim", markup=False, highlight=False)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes strict JSON; under the final name there is only ever a whole file.

    What JSON has no number for is written as null: an infinite PSNR (SR equals HR), and a NIQE that does not
    exist. Missing folders are made, an existing file is replaced.

    Raises:
        InputError: The file cannot be written there.
    """
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 as :func:`write_json` does: whole or not at all, missing folders made.

    Raises:
        InputError: The file cannot be written there.
    """
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
