"""Optimiser steps taken by hand, and counted so that an update is a batch whatever the number of optimisers.

Lightning adds one to ``trainer.global_step`` for each optimiser's step, so a GAN would count two per batch.
Here the optimisers' own counting is silenced and each update is counted once: ``max_steps``, schedules,
checkpoint names and logs then all speak of the same thing.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from esrgan_lightning.errors import InputError
from esrgan_lightning.stages.faults import (
    Fault,
    NonFiniteError,
    Seen,
    cause_of,
    first_broken,
    forget_broken_statistics,
)
from esrgan_lightning.stages.signals import log_means
from esrgan_lightning.stages.steps import (
    apart,
    device_guarded_step,
    guarded_step,
    scaled_step,
    scaler_of,
    unscale_and_clip,
)

if TYPE_CHECKING:
    from esrgan_lightning.stages.cuda_graphs import Replay

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]
Told = dict[str, Tensor]  # what is to be logged of an update, by name
Learn = Callable[[dict[str, Any], bool], Told]


class Updates:
    """How a stage descends: accumulation, clipping, the guard against non-finite gradients, counting.

    Args:
        accumulate: batches per update; gradients are averaged over them.
        clip_norm: largest L2 norm of an optimiser's gradient, or None.
        max_skipped: updates skipped in a row before training stops.
    """

    def __init__(self, *, accumulate: int = 1, clip_norm: float | None = None, max_skipped: int = 20) -> None:
        if accumulate < 1:
            raise InputError(f"stage.accumulate={accumulate} must be at least 1")
        if clip_norm is not None and clip_norm <= 0:
            raise InputError(f"stage.clip_norm={clip_norm} must be positive, or null for none")
        self.accumulate, self.clip_norm, self.max_skipped = accumulate, clip_norm, max_skipped
        self.skipped = self.skipped_in_row = 0
        self.norm = torch.tensor(torch.nan)  # of the last step's gradient, before clipping
        self.fault: Fault | None = None  # of the last update; whoever reports it takes it away
        self.replay: Replay | None = None
        self.waits_for_device = True  # after each step, to hear whether it was taken
        # Logging a value takes Lightning most of a millisecond, and all of a replayed update some ten: of
        # these, those are told that somebody reads.
        self.logs = True
        self._told: Told = {}
        self.seen: list[Seen] = []
        self.taken: list[Tensor | bool] = []  # of each step of the update
        self._open: int | None = None  # the update that is done, and not known to be sound
        self._broken: str | None = None  # the first parameter whose gradient was not finite

    def state_dict(self) -> dict[str, int]:
        """What a resumed run has to count on from."""
        return {"skipped": self.skipped, "skipped_in_row": self.skipped_in_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Counts on."""
        self.skipped, self.skipped_in_row = state["skipped"], state["skipped_in_row"]

    def run(self, stage: pl.LightningModule, learn: Learn, batch: dict[str, Any], *, last: bool) -> None:
        """``learn(batch, last)``, or on a GPU the same kernels once more as one graph; counted and logged.

        Args:
            stage: which trains.
            learn: a batch's share of an update, and with the update's last batch the steps; returns what is
                to be logged as ``train/NAME``.
            batch: what is learnt from.
            last: whether it is the update's last batch.
        """
        self.settle(stage)
        self.logs = self.replay is None or not self.replay.recorded or self._is_read(stage.trainer)
        told = learn(batch, last) if self.replay is None else self.replay.run(stage, self, learn, batch)
        self._told = {name: value.detach() for name, value in told.items()}
        if last:
            self.finish(stage)
        if self.logs:
            self._tell(stage, last=last)

    def _tell(self, stage: pl.LightningModule, *, last: bool) -> None:
        log_means(stage, self._told)
        if last:
            stage.log_dict({"step": float(stage.global_step), "train/skipped": float(self.skipped)})

    def tell_at_stop(self, stage: pl.LightningModule) -> None:
        """Logs the last update where the run was stopped after it; Lightning writes a row there."""
        if stage.trainer.should_stop and not self.logs:
            self._tell(stage, last=True)

    def forget(self) -> None:
        """Leaves a graph and what it had not told yet."""
        self.replay, self.waits_for_device, self._open = None, True, None
        self.seen, self.taken = [], []

    def _is_read(self, trainer: pl.Trainer) -> bool:
        reads = trainer._logger_connector.should_update_logs
        return reads or trainer.global_step + 1 >= trainer.max_steps

    def completes(self, batch_idx: int) -> bool:
        """Whether this batch is the last one of its update."""
        return (batch_idx + 1) % self.accumulate == 0

    def backward(
        self,
        stage: pl.LightningModule,
        loss: Tensor,
        *,
        terms: Mapping[str, Tensor],
        batch: Mapping[str, Any],
        last: bool,
    ) -> None:
        """One batch's share of the update's gradient.

        Args:
            stage: which trains.
            loss: the weighted sum.
            terms: what it is made of, by name; told when one of them is not finite.
            batch: what it was computed on.
            last: whether it is the update's last batch, with which DDP averages the gradients of all.
        """
        self.seen.append(({name: term.detach() for name, term in terms.items()}, batch))
        # A loss that is not finite can have finite gradients: NaN in all of them tells `step`, on every rank.
        share = loss.detach() * 0 + 1 / self.accumulate
        with apart(stage) if not last else nullcontext():
            stage.manual_backward(loss * share)

    def scale(self, stage: pl.LightningModule) -> Tensor | None:
        """What fp16's losses are multiplied by before their backward pass; None in other precisions."""
        scaler = scaler_of(stage)
        return None if scaler is None else scaler.scale(torch.ones((), device=stage.device))

    def step(self, stage: pl.LightningModule, optimizer: LightningOptimizer) -> Tensor:
        """One step with the gradients of all the update's batches, left out if one is not finite.

        Returns:
            Their norm, before clipping.
        """
        taken: Tensor | bool
        if not self.waits_for_device:
            self.norm, taken = device_guarded_step(optimizer.optimizer, self.clip_norm)
        elif scaler_of(stage):
            taken = scaled_step(stage, optimizer)
        else:
            self.norm, taken = guarded_step(optimizer, self.clip_norm)
        self.taken.append(taken)
        if self.waits_for_device:  # else they are looked at later
            self._broken = self._broken or (None if taken or scaler_of(stage) else first_broken(stage))
            optimizer.zero_grad(set_to_none=True)
        return self.norm

    def clip(self, stage: pl.LightningModule, optimizer: Optimizer) -> None:
        """Clips after unscaling, under fp16; to be called from ``on_before_optimizer_step``."""
        if scaler_of(stage) is not None:
            self.norm = unscale_and_clip(stage, optimizer, self.clip_norm)

    def finish(self, stage: pl.LightningModule) -> None:
        """Counts the update, moves the schedules on, and stops after too many skipped in a row.

        Where nobody waits for the device, the last is left to :meth:`settle`.
        """
        schedules = stage.lr_schedulers()
        for schedule in schedules if isinstance(schedules, list) else [schedules] if schedules else []:
            schedule.step()  # type: ignore[call-arg]
        progress = stage.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self._open = stage.trainer.global_step
        if self.waits_for_device:
            self.settle(stage)

    def settle(self, stage: pl.LightningModule) -> None:
        """Hears from the device whether the last update's steps were taken, if that is still open."""
        if self._open is None:
            return
        update, self._open = self._open, None
        taken = all(bool(each) for each in self.taken)
        if not (taken or self.waits_for_device):
            self._broken = first_broken(stage)
        self.skipped_in_row = 0 if taken else self.skipped_in_row + 1
        self.skipped += not taken
        cause = None if taken else cause_of(self.seen, self._broken)
        if self.skipped_in_row == 1 and cause:
            batches = {id(batch): batch for _, batch in self.seen}  # a GAN has seen each one twice
            self.fault = Fault(update, cause, list(batches.values()))
        self.seen, self.taken, self._broken = [], [], None
        if not taken:
            forget_broken_statistics(stage)
        if self.skipped_in_row >= self.max_skipped:
            raise NonFiniteError(
                f"update {update}: {self.skipped_in_row} updates in a row with a loss or "
                f"gradient that is not finite ({cause or 'fp16 overflow'}); lower the learning rate, or set "
                "stage.clip_norm"
            )
