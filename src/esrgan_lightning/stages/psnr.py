"""The PSNR stage: the generator alone, on a pixel loss (ESRGAN §4.1)."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.stages.base import (
    Batch,
    GeneratorStage,
    Logged,
    OptimizerFactory,
    ScheduleFactory,
    color_shift,
    super_resolve,
)


class PSNRStage(GeneratorStage):
    """Trains a generator on image losses.

    Batches are ``{"lr": (B,3,h,w), "hr": (B,3,s·h,s·w)}`` in [0,1]; with "conditions", (B,K,h,w), for a
    generator that takes maps.

    Args:
        generator: (B,3,h,w) → (B,3,s·h,s·w), both in [0,1].
        losses: named image terms and their weights; the paper has ``{"pixel": 1.0}`` with L1.
        optimizer: parameters → optimiser.
        schedule: optimiser → learning-rate schedule stepped once per update, or None.
        **settings: of :class:`~esrgan_lightning.stages.base.GeneratorStage`: ``ema_decay``, ``accumulate``,
            ``clip_norm``, ``max_skipped``, ``metrics``, ``provenance``.
    """

    def __init__(
        self,
        generator: nn.Module,
        losses: WeightedLoss,
        *,
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(generator, **settings)
        self.losses = losses
        self._optimizer, self._schedule = optimizer, schedule

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        """One optimiser over the generator."""
        optimizer = self._optimizer(self.generator.parameters())
        return [optimizer], [self._schedule(optimizer)] if self._schedule else []

    def update(self, batch: Batch) -> Logged:
        """Forward, loss, backward, step."""
        sr = super_resolve(self.generator, batch)  # (B,3,h,w) → (B,3,s·h,s·w), about [0,1]
        loss, terms = self.losses(sr, batch["hr"])
        norm = self.descend(self.optimizers(), loss, terms)  # type: ignore[arg-type]
        self.follow()
        return {"loss": loss, **terms, "grad_norm": norm, **color_shift(sr, batch["lr"])}
