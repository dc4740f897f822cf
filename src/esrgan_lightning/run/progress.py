"""What a person sees while a run trains: a bar in a terminal, lines elsewhere."""

import logging
import math
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

logger = logging.getLogger(__name__)


def announce(message: str) -> None:
    """Says something that matters once: in the log where there is one; a spawned process has none set up."""
    logger.info(message) if logger.hasHandlers() else print(message, flush=True)


def duration(seconds: float) -> str:
    """In the two largest units: ``38 days 5 h``, ``2 h 10 min``, ``3 min 20 s``, ``4 s``.

    >>> duration(3 * 86400 + 7260), duration(59.6)
    ('3 days 2 h', '1 min')
    """
    rest = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, "day" if (unit, count) == ("days", 1) else unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


class UpdateProgressBar(RichProgressBar):
    """Lightning's rich bar: batches, losses, images/s, time left; without its version number.

    It looks at the metrics ten times a second at most: each look waits for the device.
    """

    _looked = -math.inf

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """After a tenth of a second, and after the last update."""
        if time.monotonic() - self._looked >= 0.1 or trainer.global_step >= trainer.max_steps:
            super().on_train_batch_end(trainer, *args)
            self._looked = time.monotonic()

    def _update(self, progress_bar_id: Any, current: int, visible: bool = True, hard: bool = False) -> None:
        # Lightning 2.5 counts its calls, of which some are left out here.
        if self.progress is not None and self.is_enabled and progress_bar_id is not None:
            self.progress.update(progress_bar_id, completed=current, visible=visible)
            self.refresh()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands at the bar's end."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {name.removeprefix("train/"): value for name, value in metrics.items()}

    def _get_train_description(self, current_epoch: int) -> str:
        # A run is one long "epoch": its number says nothing.
        return "Updates".ljust(len(self.validation_description))


class ProgressLines(Callback):
    """One line per ``seconds``: update, losses, images/s, time left. For logs and pipes."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._start = self._last = 0.0
        self._from = 0

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Starts the clock."""
        self._start = self._last = time.monotonic()
        self._from = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Prints when it is time to, and for the last update."""
        now, done, total = time.monotonic(), trainer.global_step, trainer.max_steps
        if not trainer.is_global_zero or (now - self._last < self.seconds and done < total):
            return
        self._last = now
        left = (now - self._start) / max(1, done - self._from) * (total - done)
        values = {name.removeprefix("train/"): value for name, value in trainer.progress_bar_metrics.items()}
        shown = " · ".join(
            f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, float)
        )
        line = f"update {done}/{total} · {shown} · {duration(left)} left"
        print(line, file=Tolerant(sys.stdout), flush=True)


class Tolerant:
    """A text file that may fail: a run outlives its terminal, and a log's full disk.

    Args:
        file: what is written to.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> int:
        """Writes, or does not."""
        with suppress(OSError):
            self.file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes, or does not."""
        with suppress(OSError):
            self.file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def progress() -> Callback:
    """The bar where standard output is a terminal, lines elsewhere."""
    if not sys.stdout.isatty():
        return ProgressLines()
    return UpdateProgressBar(leave=True, console_kwargs={"file": Tolerant(sys.stdout)})
