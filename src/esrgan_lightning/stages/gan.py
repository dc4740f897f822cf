"""The GAN stage: generator and discriminator by turns (ESRGAN §3.2, §4.1)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.losses.adversarial import AdversarialLoss
from esrgan_lightning.stages.critic import penalised, penalty_of
from esrgan_lightning.stages.ema import averaged
from esrgan_lightning.stages.enlarge import enlarge
from esrgan_lightning.stages.relay import frozen, judge, relay
from esrgan_lightning.stages.signals import color_shift
from esrgan_lightning.stages.updates import OptimizerFactory, ScheduleFactory, Told, Updates
from esrgan_lightning.stages.validation import Validation, default_metrics, lineage
from esrgan_lightning.weights import LINEAGE_KEY

Order = Literal["generator_first", "discriminator_first"]


class GANStage(pl.LightningModule):
    """Trains a generator against a discriminator: L_G = L_percep + λ·L_G^Ra + η·L1 (ESRGAN eq. 3).

    Batches are as :class:`~esrgan_lightning.stages.PSNRStage` has them; with "number" for a penalty.

    Args:
        generator: (B,3,h,w) → (B,3,s·h,s·w), both in [0,1]; it starts from the PSNR stage's weights.
        discriminator: (B,3,H,W) in [0,1] → raw logits, (B,1) or a map (B,1,H',W').
        losses: image terms, and the weight of ``adversarial``.
        adversarial: the pair of losses that the two networks play with.
        optimizer: generator parameters → optimiser.
        discriminator_optimizer: discriminator parameters → optimiser; like the generator's by default.
        schedule: optimiser → learning-rate schedule, stepped once per update.
        discriminator_schedule: the same for the discriminator; like the generator's by default.
        order: which network moves first in an update.
        discriminator_steps: steps of the discriminator in an update, all on the same batches.
        ema_decay: of the generator's moving average; None (the paper) for none.
        accumulate: batches per update; relativistic means and batch norm stay those of one batch (over all
            processes; batch norm where it is synchronised).
        clip_norm: largest gradient norm of either network, or None.
        max_skipped: updates with non-finite gradients in a row before training stops.
        metrics: by name, for validation; PSNR-Y and SSIM-Y by default.
        provenance: plain values kept in each checkpoint.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        losses: WeightedLoss,
        adversarial: AdversarialLoss,
        *,
        optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        discriminator_schedule: ScheduleFactory | None = None,
        order: Order = "generator_first",
        discriminator_steps: int = 1,
        ema_decay: float | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        max_skipped: int = 20,
        metrics: Mapping[str, Metric] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if order not in ("generator_first", "discriminator_first"):
            raise InputError(f"stage.order={order!r}: choose generator_first or discriminator_first")
        if discriminator_steps < 1:
            raise InputError(f"stage.discriminator_steps={discriminator_steps} must be at least 1")
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        self.losses, self.adversarial = losses, adversarial
        self.penalty = penalty_of(adversarial, discriminator)
        self.ema = averaged(generator, ema_decay)
        self.updates = Updates(accumulate=accumulate, clip_norm=clip_norm, max_skipped=max_skipped)
        self.validation = Validation(metrics or default_metrics(int(generator.scale)))  # type: ignore[arg-type]
        self.order, self.discriminator_steps = order, discriminator_steps
        self.accumulate, self.provenance = accumulate, dict(provenance or {})
        self._batches: list[dict[str, Any]] = []  # of the update under way
        self._optimizers = (optimizer, discriminator_optimizer or optimizer)
        self._schedules = (schedule, discriminator_schedule or schedule)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        """One optimiser each, the generator's first."""
        networks = (self.generator, self.discriminator)
        optimizers = [make(net.parameters()) for make, net in zip(self._optimizers, networks, strict=True)]
        schedules = [make(opt) for make, opt in zip(self._schedules, optimizers, strict=True) if make]
        return optimizers, schedules

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
        """The update's last batch is followed by both networks' steps, in the order asked for."""
        if self.order == "generator_first" and self.discriminator_steps == 1:
            told = self._learn_together(batch, last=last)
            if last:
                told |= self._step("g") | self._step("d")
        else:
            self._batches.append(batch)
            if not last:
                return {}  # whoever moves second has to meet, on each batch, the other one after its step
            told = self._learn_by_turns()
        if last and self.ema is not None:
            self.ema.update_parameters(self.generator)
        return told

    def _learn_together(self, batch: dict[str, Any], *, last: bool) -> Told:
        """Both gradients from one pass of each network over each set of images.

        That is exact: the generator's step, which comes first, changes neither the picture that was made
        before it nor the discriminator, so that the discriminator's turn would meet the same logits again.
        """
        sr = enlarge(self.generator, batch)  # (B,3,h,w) → (B,3,s·h,s·w), about [0,1]
        seen = sr.detach().requires_grad_()
        real, fake = self.discriminator(batch["hr"]), self.discriminator(seen)
        given = {}
        if self.losses.needs("adversarial"):
            loss = self.adversarial.generator_loss(real.detach(), fake)
            given["adversarial"] = relay(loss, seen=seen, picture=sr, scale=self.updates.scale(self))
        # The discriminator first: its graph is gone before the perceptual network's is made.
        told = self._discriminator_gradient(sr, real, fake, batch, last=last)
        return told | self._generator_gradient(sr, given, batch, last=last)

    def _learn_by_turns(self) -> Told:
        batches, self._batches = self._batches, []
        with torch.set_grad_enabled(len(batches) == 1):  # several graphs at a time: no memory would be saved
            srs = [enlarge(self.generator, each) for each in batches]
        turns = (self._generator_turn, self._discriminator_turn)
        first, second = turns if self.order == "generator_first" else turns[::-1]
        return first(srs, batches) | second(srs, batches)

    def _generator_turn(self, srs: Sequence[Tensor], batches: Sequence[dict[str, Any]]) -> Told:
        for known, batch in zip(srs, batches, strict=True):
            sr = known if known.requires_grad else enlarge(self.generator, batch)
            with frozen(self.discriminator):  # it judges, and does not learn from this
                given = {}
                if self.losses.needs("adversarial"):
                    given["adversarial"] = judge(self.adversarial, self.discriminator, sr, batch["hr"])
                told = self._generator_gradient(sr, given, batch, last=batch is batches[-1])
        return told | self._step("g")

    def _discriminator_turn(self, srs: Sequence[Tensor], batches: Sequence[dict[str, Any]]) -> Told:
        for step in range(self.discriminator_steps):
            if step:  # a replayed step leaves its gradients for a later look
                self.optimizers()[1].zero_grad(set_to_none=True)  # type: ignore[index]
            for sr, batch in zip(srs, batches, strict=True):
                real, fake = self.discriminator(batch["hr"]), self.discriminator(sr.detach())
                last = batch is batches[-1]
                told = self._discriminator_gradient(sr, real, fake, batch, last=last, step=step)
            told |= self._step("d")
        return told

    def _generator_gradient(self, sr: Tensor, given: Told, batch: dict[str, Any], *, last: bool) -> Told:
        loss, terms = self.losses(sr, batch["hr"], **given)
        self.updates.backward(self, loss, terms=terms, batch=batch, last=last)
        return {"loss_g": loss, **terms, **color_shift(sr, batch["lr"])} if last else {}

    def _discriminator_gradient(
        self, sr: Tensor, real: Tensor, fake: Tensor, batch: dict[str, Any], *, last: bool, step: int = 0
    ) -> Told:
        loss = self.adversarial.discriminator_loss(real, fake)
        total, terms = penalised(loss, self.penalty, self.discriminator, sr, batch, step=step)
        self.updates.backward(self, total, terms={"discriminator": loss, **terms}, batch=batch, last=last)
        return {"loss_d": loss, "d_real": real.mean(), "d_fake": fake.mean(), **terms} if last else {}

    def _step(self, network: Literal["g", "d"]) -> Told:
        optimizer = self.optimizers()["gd".index(network)]  # type: ignore[index]
        return {f"grad_norm_{network}": self.updates.step(self, optimizer)}

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
