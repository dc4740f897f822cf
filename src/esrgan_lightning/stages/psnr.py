"""The PSNR stage: the generator alone, on a pixel loss (ESRGAN §4.1)."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.stages.ema import averaged
from esrgan_lightning.stages.enlarge import enlarge
from esrgan_lightning.stages.signals import color_shift
from esrgan_lightning.stages.updates import OptimizerFactory, ScheduleFactory, Told, Updates
from esrgan_lightning.stages.validation import Validation, default_metrics, lineage
from esrgan_lightning.weights import LINEAGE_KEY


class PSNRStage(pl.LightningModule):
    """Trains a generator on image losses.

    Batches are ``{"lr": (B,3,h,w), "hr": (B,3,s·h,s·w)}`` in [0,1]; with "conditions", (B,K,h,w), for a
    generator that takes maps.

    Args:
        generator: (B,3,h,w) → (B,3,s·h,s·w), both in [0,1].
        losses: named image terms and their weights; the paper has ``{"pixel": 1.0}`` with L1.
        optimizer: parameters → optimiser.
        schedule: optimiser → learning-rate schedule stepped once per update, or None.
        ema_decay: of the generator's moving average; None (the paper) for none.
        accumulate: batches per update.
        clip_norm: largest gradient norm, or None.
        max_skipped: updates with non-finite gradients in a row before training stops.
        metrics: by name, for validation; PSNR-Y and SSIM-Y by default.
        provenance: plain values kept in each checkpoint.
    """

    def __init__(
        self,
        generator: nn.Module,
        losses: WeightedLoss,
        *,
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory | None = None,
        ema_decay: float | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        max_skipped: int = 20,
        metrics: Mapping[str, Metric] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.losses = generator, losses
        self.ema = averaged(generator, ema_decay)
        self.updates = Updates(accumulate=accumulate, clip_norm=clip_norm, max_skipped=max_skipped)
        self.validation = Validation(metrics or default_metrics(int(generator.scale)))  # type: ignore[arg-type]
        self.accumulate, self.provenance = accumulate, dict(provenance or {})
        self._optimizer, self._schedule = optimizer, schedule

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        """One optimiser over the generator."""
        optimizer = self._optimizer(self.generator.parameters())
        return [optimizer], [self._schedule(optimizer)] if self._schedule else []

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B,3,h,w), and maps for a generator that takes them → (B,3,s·h,s·w), by :attr:`model`."""
        sr: Tensor = self.model(*inputs)
        return sr

    @property
    def model(self) -> nn.Module:
        """The generator that a user gets: the moving average where there is one."""
        return self.ema.module if self.ema is not None else self.generator

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One batch: :meth:`_learn`, and what is counted and logged around it."""
        self.updates.run(self, self._learn, batch, last=self.updates.completes(batch_idx))

    def _learn(self, batch: dict[str, Any], last: bool) -> Told:
        """Forward, loss, backward; a step with the update's last batch. Returns what is to be logged."""
        sr = enlarge(self.generator, batch)  # (B,3,h,w) → (B,3,s·h,s·w), about [0,1]
        loss, terms = self.losses(sr, batch["hr"])
        self.updates.backward(self, loss, terms=terms, batch=batch, last=last)
        told = {"loss": loss, **terms}
        if last:
            optimizer: LightningOptimizer = self.optimizers()  # type: ignore[assignment]
            told |= {"grad_norm": self.updates.step(self, optimizer), **color_shift(sr, batch["lr"])}
            if self.ema is not None:
                self.ema.update_parameters(self.generator)
        return told

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clipping under fp16, after the gradients are unscaled."""
        self.updates.clip(self, optimizer)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A run that was just stopped is told of its last update."""
        self.updates.tell_at_stop(self)

    def on_validation_model_zero_grad(self) -> None:
        """Before a validation it is known whether the last update was sound; its gradients may stay."""
        self.updates.settle(self)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One whole image → its SR, (1,3,H,W) in [0,1]."""
        sr = enlarge(self.model, batch).float().clamp(0, 1)
        self.validation.update(sr=sr, hr=batch["hr"])
        return sr

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics over all images."""
        self.validation.log(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the network's spec, the run's provenance and its counters."""
        self.updates.settle(self)
        checkpoint[LINEAGE_KEY] = lineage(self.generator, self.provenance)
        checkpoint["updates"] = self.updates.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts on."""
        self.updates.load_state_dict(checkpoint["updates"])
