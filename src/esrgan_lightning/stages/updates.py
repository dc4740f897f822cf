"""Optimiser steps taken by hand, and counted so that an update is a batch whatever the number of optimisers.

Lightning adds one to ``trainer.global_step`` for each optimiser's step, so a GAN would count two per batch.
Here the optimisers' own counting is silenced and each update is counted once: ``max_steps``, schedules,
checkpoint names and logs then all speak of the same thing.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from esrgan_lightning.errors import InputError

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]


class NonFiniteError(RuntimeError):
    """Too many updates in a row had a loss or gradient that is not finite."""


class Fault(NamedTuple):
    """The first of a row of updates that were skipped."""

    update: int
    cause: str  # which term, or whose gradient; on which images
    batches: list[Mapping[str, Any]]

    def __str__(self) -> str:
        return f"update {self.update}: {self.cause}"


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
        self._seen: list[tuple[Mapping[str, Tensor], Mapping[str, Any]]] = []
        self._broken: str | None = None  # the first parameter whose gradient was not finite

    def state_dict(self) -> dict[str, int]:
        """What a resumed run has to count on from."""
        return {"skipped": self.skipped, "skipped_in_row": self.skipped_in_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Counts on."""
        self.skipped, self.skipped_in_row = state["skipped"], state["skipped_in_row"]

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
        self._seen.append(({name: term.detach() for name, term in terms.items()}, batch))
        # A loss that is not finite can have finite gradients: NaN in all of them tells `step`, on every rank.
        share = torch.where(loss.detach().isfinite(), 1 / self.accumulate, torch.nan)
        with _apart(stage) if not last else nullcontext():
            stage.manual_backward(loss * share)

    def scale(self, stage: pl.LightningModule) -> Tensor | None:
        """What fp16's losses are multiplied by before their backward pass; None in other precisions."""
        scaler = _scaler(stage)
        return None if scaler is None else scaler.scale(torch.ones((), device=stage.device))

    def step(self, stage: pl.LightningModule, optimizer: LightningOptimizer) -> bool:
        """One step with the gradients of all the update's batches. False if it was skipped."""
        taken = self._scaled_step(stage, optimizer) if _scaler(stage) else self._step(stage, optimizer)
        optimizer.zero_grad(set_to_none=True)
        return taken

    def _step(self, stage: pl.LightningModule, optimizer: LightningOptimizer) -> bool:
        self.norm = norm = get_total_norm(gradients_of(optimizer.optimizer))
        if not torch.isfinite(norm):
            self._broken = self._broken or _first_broken(stage)
            return False
        if self.clip_norm is not None:
            clip_grads_with_norm_(parameters_of(optimizer.optimizer), self.clip_norm, norm)
        _uncounted_step(optimizer)
        return True

    def _scaled_step(self, stage: pl.LightningModule, optimizer: LightningOptimizer) -> bool:
        # fp16: the precision plugin unscales inside step(), then `clip` runs from on_before_optimizer_step;
        # the scaler itself leaves out a step with infinite gradients, and lowers its scale.
        scaler = _scaler(stage)
        before = scaler.get_scale()
        _uncounted_step(optimizer)
        after = scaler.get_scale()
        if after != before:
            # The other network's gradients may be there already, and will be divided by the new scale.
            for other in stage.trainer.optimizers:
                for gradient in gradients_of(other) if other is not optimizer.optimizer else ():
                    gradient.mul_(after / before)
        return bool(after >= before)

    def clip(self, stage: pl.LightningModule, optimizer: Optimizer) -> None:
        """Clips after unscaling, under fp16; to be called from ``on_before_optimizer_step``."""
        scaler = _scaler(stage)
        if scaler is None:
            return
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            # The plugin leaves it to fused optimisers to unscale in their step, which would be too late.
            scaler.unscale_(optimizer)
        self.norm = norm = get_total_norm(gradients_of(optimizer))
        if self.clip_norm is not None:
            clip_grads_with_norm_(parameters_of(optimizer), self.clip_norm, norm)

    def finish(self, stage: pl.LightningModule, *, taken: bool) -> None:
        """Counts the update, moves the schedules on, and stops after too many skipped in a row."""
        schedules = stage.lr_schedulers()
        for schedule in schedules if isinstance(schedules, list) else [schedules] if schedules else []:
            schedule.step()  # type: ignore[call-arg]
        progress = stage.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self.skipped_in_row = 0 if taken else self.skipped_in_row + 1
        self.skipped += not taken
        cause = None if taken else self._cause()
        if self.skipped_in_row == 1 and cause:
            batches = {id(batch): batch for _, batch in self._seen}  # a GAN has seen each one twice
            self.fault = Fault(stage.trainer.global_step, cause, list(batches.values()))
        self._seen, self._broken = [], None
        if not taken:
            _forget_broken_statistics(stage)
        if self.skipped_in_row >= self.max_skipped:
            raise NonFiniteError(
                f"update {stage.trainer.global_step}: {self.skipped_in_row} updates in a row with a loss or "
                f"gradient that is not finite ({cause or 'fp16 overflow'}); lower the learning rate, or set "
                "stage.clip_norm"
            )

    def _cause(self) -> str | None:
        # Overflow alone is how fp16 finds its scale, and no fault.
        bad = {name for terms, _ in self._seen for name, term in terms.items() if not term.isfinite().all()}
        images = [str(name) for _, batch in self._seen for name in batch.get("name", ())]
        on = f" (images {', '.join(dict.fromkeys(images))})" if images else ""
        if bad:
            return f"not finite: loss term {', '.join(sorted(bad))}{on}"
        return f"not finite: the gradient of {self._broken}; the losses are{on}" if self._broken else None


def _first_broken(stage: nn.Module) -> str:
    for name, parameter in stage.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return name
    return "all parameters together"  # each is finite, and the sum of their squares is not


def _forget_broken_statistics(stage: nn.Module) -> None:
    # A step can be left out, but batch norm has averaged the NaN in: it would stay there for good.
    for module in stage.modules():
        mean = getattr(module, "running_mean", None)
        if isinstance(mean, Tensor) and not mean.isfinite().all():
            module.reset_running_stats()  # type: ignore[operator]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """The optimiser's parameters that have a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """The gradients of the optimiser's parameters."""
    return [p.grad for p in parameters_of(optimizer) if p.grad is not None]


def _apart(stage: pl.LightningModule) -> AbstractContextManager[None]:
    """Within the block a backward pass adds to this process's own gradients, and DDP waits."""
    strategy = stage.trainer.strategy
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


def _scaler(stage: pl.LightningModule) -> Any:
    return getattr(stage.trainer.precision_plugin, "scaler", None)


def _uncounted_step(optimizer: LightningOptimizer) -> None:
    # These two hooks are Lightning's step counter; it re-installs them for every batch.
    optimizer._on_before_step = optimizer._on_after_step = lambda: None
    optimizer.step()
