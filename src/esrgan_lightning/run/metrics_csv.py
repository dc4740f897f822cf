"""``metrics.csv``: one row per logged update, kept when a run is resumed.

Lightning's own CSVLogger deletes the file of an earlier start in the same folder.
"""

import csv
import math
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from esrgan_lightning.ops.files import whole_file


class MetricsCSV(Logger):
    """Appends rows ``step, name, …``; a new column rewrites the file under a temporary name first.

    Args:
        path: of the file.
        keep_until: rows of a later update are dropped at the first write: a resumed run repeats them. None
            starts anew.
    """

    def __init__(self, path: Path, *, keep_until: int | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self._columns: list[str] = ["step"]
        self._rows: list[dict[str, Any]] = []
        self._started = False
        self._keep_until = keep_until

    @property
    def name(self) -> str:
        """The file's stem."""
        return self.path.stem

    @property
    def version(self) -> str:
        """There is one file per run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a row, or fills up the last one if it is of the same update."""
        self._start()
        new = [name for name in metrics if name not in self._columns]
        self._columns += sorted(new)
        last: dict[str, Any] = self._rows[-1] if self._rows else {"step": -1}
        # The update that a resumed run goes on from may be validated a second time, with the same result.
        if int(last["step"]) == step and (step == self._keep_until or not set(metrics) & set(last)):
            last |= metrics
            self._rewrite()
            return
        self._rows.append({"step": step, **metrics})
        if new:
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(self._rows[-1])

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._keep_until is not None and self.path.is_file():
            # A killed run may have left half a row, whose number then means something else.
            lines = self.path.read_bytes().decode(errors="replace").splitlines(keepends=True)
            rows = [_cells(line) for line in lines if line.endswith("\n")]
            self._columns += rows[0][1:] if rows else []
            for row in rows[1:]:
                if len(row) <= len(self._columns) and _step(row) <= self._keep_until:
                    named = zip(self._columns, row, strict=False)
                    self._rows.append({name: value for name, value in named if value})
        self._rewrite()

    def _rewrite(self) -> None:
        with whole_file(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)


def _cells(line: str) -> list[str]:
    """The cells of a line; a damaged one has none."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _step(row: list[str]) -> float:
    """A row's update; of a damaged row one that is never reached."""
    return int(row[0]) if row and row[0].isdecimal() else math.inf
