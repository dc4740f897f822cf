"""The GAN stage: generator and discriminator by turns (ESRGAN §3.2, §3.3, §4.1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.losses.adversarial import AdversarialLoss
from esrgan_lightning.losses.penalty import Penalty, check_image_by_image
from esrgan_lightning.stages.base import (
    Batch,
    GeneratorStage,
    Logged,
    OptimizerFactory,
    ScheduleFactory,
    color_shift,
    super_resolve,
)
from esrgan_lightning.stages.gan_fused import both_losses

Order = Literal["generator_first", "discriminator_first"]


class GANStage(GeneratorStage):
    """Trains a generator G against a discriminator D: L_G = L_percep + λ·L_G^Ra + η·L_1 (ESRGAN eq. 3).

    :meth:`update` is the algorithm. Where the generator moves first and the discriminator once, the stage
    computes the same with fewer passes of the discriminator (:mod:`~esrgan_lightning.stages.gan_fused`).
    A subclass with an ``update`` of its own is trained by that.

    Batches are as :class:`~esrgan_lightning.stages.PSNRStage` has them; with "number" for a penalty.

    Args:
        generator: (B,3,h,w) → (B,3,s·h,s·w), both in [0,1]; it starts from the PSNR stage's weights.
        discriminator: (B,3,H,W) in [0,1] → raw logits C(x), (B,1) or a map (B,1,H',W').
        losses: image terms, and the weight λ of ``adversarial``.
        adversarial: the pair of losses that the two networks play with.
        optimizer: generator parameters → optimiser.
        discriminator_optimizer: discriminator parameters → optimiser; like the generator's by default.
        schedule: optimiser → learning-rate schedule, stepped once per update.
        discriminator_schedule: the same for the discriminator; like the generator's by default.
        order: which network moves first in an update.
        discriminator_steps: steps of the discriminator in an update, all on the same batch.
        fused: compute an update with fewer passes where that is exact.
        **settings: of :class:`~esrgan_lightning.stages.base.GeneratorStage`: ``ema_decay``, ``accumulate``,
            ``clip_norm``, ``max_skipped``, ``metrics``, ``provenance``. With ``accumulate`` relativistic
            means and batch norm stay those of one batch.

    Raises:
        InputError: a setting out of range, ``accumulate`` with another order or more steps of the
            discriminator (whoever moves second has to meet the other one after its step), or a gradient
            penalty beside batch norm.
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
        fused: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(generator, **settings)
        if order not in ("generator_first", "discriminator_first"):
            raise InputError(f"stage.order={order!r}: choose generator_first or discriminator_first")
        if discriminator_steps < 1:
            raise InputError(f"stage.discriminator_steps={discriminator_steps} must be at least 1")
        simple = order == "generator_first" and discriminator_steps == 1
        if self.accumulate > 1 and not simple:
            raise InputError(
                f"stage.accumulate={self.accumulate} goes with stage.order=generator_first and "
                "stage.discriminator_steps=1 alone; give these, or a larger data.batch_size"
            )
        self.discriminator = discriminator
        self.losses, self.adversarial = losses, adversarial
        self.penalty: Penalty | None = getattr(
            adversarial, "penalty", None
        )  # a loss of one's own may have none
        if self.penalty is not None:
            check_image_by_image(discriminator)
        self.order, self.discriminator_steps = order, discriminator_steps
        self._optimizers = (optimizer, discriminator_optimizer or optimizer)
        self._schedules = (schedule, discriminator_schedule or schedule)
        if fused and simple and type(self).update is GANStage.update:
            self.learn = self._update_fused

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        """One optimiser each, the generator's first."""
        networks = (self.generator, self.discriminator)
        optimizers = [make(net.parameters()) for make, net in zip(self._optimizers, networks, strict=True)]
        schedules = [make(opt) for make, opt in zip(self._schedules, optimizers, strict=True) if make]
        return optimizers, schedules

    def update(self, batch: Batch) -> Logged:
        """One update: each network takes its turn on the pictures that G made at the start."""
        sr = super_resolve(self.generator, batch)  # x_f = G(x_LR): (B,3,h,w) → (B,3,s·h,s·w), about [0,1]
        turns = [self._generator_turn, self._discriminator_turn]
        first, second = turns if self.order == "generator_first" else turns[::-1]
        logged = first(sr, batch) | second(sr, batch)
        self.follow()
        return logged

    def _generator_turn(self, sr: Tensor, batch: Batch) -> Logged:
        """Minimises L_G = L_percep + λ·L_G^Ra + η·L_1 (eq. 3); D judges, and does not learn from this."""
        hr, given = batch["hr"], {}  # x_r: (B,3,s·h,s·w)
        if self.losses.needs("adversarial"):
            with frozen(self.discriminator):
                fake = self.discriminator(sr)  # C(x_f): (B,1)
                with torch.no_grad():  # the real logits hold nothing that G could change
                    real = self.discriminator(hr) if self.adversarial.needs_real_in_generator else None
            given["adversarial"] = self.adversarial.generator_loss(real, fake)  # L_G^Ra (eq. 2): a scalar
        loss, terms = self.losses(sr, hr, **given)
        norm = self.descend(self._optimizer("g"), loss, terms)
        return {"loss_g": loss, "grad_norm_g": norm, **terms, **color_shift(sr, batch["lr"])}

    def _discriminator_turn(self, sr: Tensor, batch: Batch) -> Logged:
        """Minimises L_D^Ra (eq. 1) on the same pictures; nothing flows back to G."""
        for step in range(self.discriminator_steps):
            if step:  # a step that nobody waits for leaves its gradients for a later look
                self._optimizer("d").zero_grad(set_to_none=True)
            real = self.discriminator(batch["hr"])  # C(x_r): (B,1)
            fake = self.discriminator(sr.detach())  # C(x_f): (B,1)
            loss = self.adversarial.discriminator_loss(real, fake)  # L_D^Ra (eq. 1): a scalar
            total, terms = self._penalised(loss, sr, batch, step=step)
            norm = self.descend(self._optimizer("d"), total, {"discriminator": loss, **terms})
        means = {"d_real": real.mean(), "d_fake": fake.mean()}
        return {"loss_d": loss, "grad_norm_d": norm, **means, **terms}

    def _update_fused(self, batch: Batch) -> Logged:
        """:meth:`update` with one pass of D over each set of pictures: exact, as G's step moves neither."""
        sr = super_resolve(self.generator, batch)
        needed = self.losses.needs("adversarial")
        loss_g, loss_d, real, fake = both_losses(
            self.adversarial, self.discriminator, sr, batch["hr"], generator=needed, scale=self.loss_scale()
        )
        # The discriminator first: its graph is gone before the perceptual network's is made.
        total_d, terms_d = self._penalised(loss_d, sr, batch, step=0)
        self.gradient(total_d, {"discriminator": loss_d, **terms_d})
        total_g, terms_g = self.losses(sr, batch["hr"], **({"adversarial": loss_g} if needed else {}))
        self.gradient(total_g, terms_g)
        norms = {f"grad_norm_{network}": self.step(self._optimizer(network)) for network in ("g", "d")}
        self.follow()
        means = {"d_real": real.mean(), "d_fake": fake.mean()}
        shift = color_shift(sr, batch["lr"])
        return {"loss_g": total_g, "loss_d": loss_d, **terms_g, **terms_d, **norms, **means, **shift}

    def _penalised(self, loss: Tensor, sr: Tensor, batch: Batch, *, step: int) -> tuple[Tensor, Logged]:
        """L_D with the gradient penalty, and the penalty by name, without its weight."""
        if self.penalty is None:
            return loss, {}
        if "number" not in batch:
            raise InputError('the gradient penalty draws by sample: give batches a "number", a list of int')
        # Not through __call__: a compiled network has no second derivative.
        critic = self.discriminator.forward
        value = self.penalty(critic, batch["hr"], sr, numbers=batch["number"], step=step)
        return loss + self.penalty.weight * value, {"gradient_penalty": value}

    def _optimizer(self, network: str) -> Any:
        return self.optimizers()["gd".index(network)]  # type: ignore[index]

    def graph_obstacle(self) -> str | None:
        """Why an update cannot be recorded as a CUDA graph; None where it can."""
        return super().graph_obstacle() or ("there is a gradient penalty" if self.penalty else None)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within the block no gradient reaches the module's parameters; through the module it still flows."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
