"""Updates of this library and of its rivals by turns, inside Lightning's loop."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
from _measure import SavedBytes, synchronize
from _rivals import Losses, Rival, features_of
from torch import Tensor

OURS = "this library"


class Contest(pl.Callback):
    """Lets the rivals update between this library's updates, and takes everybody's time.

    Args:
        rivals: who takes part beside the stage that is trained.
        device: cpu or cuda.
        clock: seconds, of the wall or of the processor.
        block: updates in a turn; nobody waits for the device between them.
    """

    def __init__(
        self,
        rivals: list[Rival],
        device: str,
        clock: Callable[[], float] = time.perf_counter,
        *,
        block: int = 1,
    ) -> None:
        self.rivals, self.device, self.clock, self.block = rivals, device, clock, block
        names = [OURS, *(rival.name for rival in rivals)]
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.saved = {name: SavedBytes() for name in names}
        self.peak: dict[str, int] = {}
        self.losses: dict[str, Losses] = {}
        self._start, self._stack = 0.0, ExitStack()

    def on_train_batch_start(self, trainer: pl.Trainer, stage: Any, batch: Any, batch_idx: int) -> None:
        """Odd rounds: the rivals first. The first round is for memory and losses."""
        turn, within = divmod(batch_idx, self.block)
        if within == 0:
            if turn % 2:
                self._rivals_turn(batch, turn)
            parameters = [*stage.parameters(), *features_of(stage).parameters()]
            self._begin(OURS, parameters, watched=turn == 0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, stage: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Even rounds: the rivals afterwards."""
        turn, within = divmod(batch_idx, self.block)
        if batch_idx == 0:
            self._stack.close()  # the first update alone: later ones may be replayed
            names = {"train/loss_d": "d"} | {f"train/{n}": n for n in ("pixel", "perceptual", "adversarial")}
            found = trainer.callback_metrics
            self.losses[OURS] = {names[key]: found[key].item() for key in names if key in found}
        if within == self.block - 1:
            self._end(OURS, timed=turn > 0)
            if turn % 2 == 0:
                self._rivals_turn(batch, turn)

    def _rivals_turn(self, batch: Any, turn: int) -> None:
        for rival in self.rivals:
            self._begin(rival.name, rival.parameters(), watched=turn == 0)
            with torch.enable_grad():  # Lightning has switched it off for callbacks
                for _ in range(self.block):
                    losses = rival.update(batch)
                    self._stack.close()
                    self.losses.setdefault(rival.name, losses)
            self._end(rival.name, timed=turn > 0)

    def _begin(self, name: str, parameters: list[Tensor], *, watched: bool) -> None:
        if watched:
            self._stack.enter_context(self.saved[name].watch(parameters))
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        synchronize(self.device)
        self._start = self.clock()

    def _end(self, name: str, *, timed: bool) -> None:
        synchronize(self.device)
        if timed:
            self.seconds[name].append((self.clock() - self._start) / self.block)
        elif self.device == "cuda":  # what a graph holds between its replays is counted nowhere
            self.peak[name] = torch.cuda.max_memory_allocated()
        self._stack.close()
