"""What a step by hand touches: gradients, the scaler, Lightning's counter."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer


def scaler_of(stage: pl.LightningModule) -> Any:
    """fp16's gradient scaler; None in other precisions."""
    return getattr(stage.trainer.precision_plugin, "scaler", None)


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [p.grad for p in parameters if p.grad is not None]


def _clip(optimizer: Optimizer, clip_norm: float | None, norm: Tensor) -> None:
    if clip_norm is not None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        clip_grads_with_norm_(parameters, clip_norm, norm)


def _uncounted_step(optimizer: LightningOptimizer) -> None:
    """A step that does not move ``trainer.global_step``."""
    # These two hooks are Lightning's step counter; it re-installs them for every batch.
    optimizer._on_before_step = optimizer._on_after_step = lambda: None
    optimizer.step()


def guarded_step(optimizer: LightningOptimizer, clip_norm: float | None) -> tuple[Tensor, bool]:
    """A step unless a gradient is not finite: their norm before clipping, and whether it was taken."""
    norm = get_total_norm(_gradients(optimizer.optimizer))
    if not torch.isfinite(norm):
        return norm, False
    _clip(optimizer.optimizer, clip_norm, norm)
    _uncounted_step(optimizer)
    return norm, True


def device_guarded_step(optimizer: Optimizer, clip_norm: float | None) -> tuple[Tensor, Tensor]:
    """A step of torch's fused Adam that the device itself leaves out where a gradient is not finite.

    Nobody waits for the device, and the gradients that are not finite stay as they are.

    Returns:
        Their norm before clipping, and whether the step was taken.
    """
    norm = get_total_norm(_gradients(optimizer))
    taken = norm.isfinite()
    _clip(optimizer, clip_norm, norm.nan_to_num(0, 0, 0))
    optimizer.found_inf = (~taken).float()  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
    return norm, taken


def scaled_step(stage: pl.LightningModule, optimizer: LightningOptimizer) -> bool:
    """A step under fp16, and whether the scaler took it.

    The precision plugin unscales inside step(), then the stage clips from ``on_before_optimizer_step``; the
    scaler itself leaves out a step with infinite gradients, and lowers its scale.
    """
    scaler = scaler_of(stage)
    before = scaler.get_scale()
    _uncounted_step(optimizer)
    after = scaler.get_scale()
    if after != before:
        # The other network's gradients may be there already, and will be divided by the new scale.
        for other in stage.trainer.optimizers:
            for gradient in _gradients(other) if other is not optimizer.optimizer else ():
                gradient.mul_(after / before)
    return bool(after >= before)


def unscale_and_clip(stage: pl.LightningModule, optimizer: Optimizer, clip_norm: float | None) -> Tensor:
    """Unscales fp16's gradients and clips them; their norm before that."""
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        # The plugin leaves it to fused optimisers to unscale in their step, which would be too late.
        scaler_of(stage).unscale_(optimizer)
    norm = get_total_norm(_gradients(optimizer))
    _clip(optimizer, clip_norm, norm)
    return norm
