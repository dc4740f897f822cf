"""ESRGAN's second stage: a generator G learns against a discriminator D, by turns (§3.2, §3.3, §4.1).

G maps LR pictures x_LR to SR pictures x_f = G(x_LR); x_r are their HR originals. It starts from the weights
of the first, PSNR-oriented stage, so that D does not begin with pictures that it tells apart at a glance.

C(x) is D's raw output, σ the sigmoid, E[·] the mean over the batch. A relativistic average discriminator asks
whether a picture is *more* real than those of the other kind are on average::

    D_Ra(x_r, x_f) = σ(C(x_r) − E[C(x_f)])                                                     (§3.2)
    L_D^Ra = −E[log D_Ra(x_r, x_f)] − E[log(1 − D_Ra(x_f, x_r))]                               (eq. 1)
    L_G^Ra = −E[log(1 − D_Ra(x_r, x_f))] − E[log D_Ra(x_f, x_r)]                               (eq. 2)
    L_G    = L_percep + λ·L_G^Ra + η·L_1                                                       (eq. 3)

L_percep is the distance of VGG features before their activation, λ = 5·10⁻³, η = 10⁻². D is trained on L_D^Ra
alone. Other games and terms go the same way: the losses come from outside.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function
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

Order = Literal["generator_first", "discriminator_first"]


class GANStage(GeneratorStage):
    """Trains a generator G against a discriminator D: L_G = L_percep + λ·L_G^Ra + η·L_1 (ESRGAN eq. 3).

    :meth:`update` is the algorithm. Where the generator moves first and the discriminator once, the stage
    computes the same with fewer passes of the discriminator (:func:`both_losses`). A subclass with an
    ``update`` of its own is trained by that.

    Batches are ``{"lr": (B,3,h,w), "hr": (B,3,s·h,s·w)}`` in [0,1]; with "conditions", (B,K,h,w), for a
    generator that takes maps, and with "number", the samples' numbers, for a gradient penalty.

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
        # A loss of one's own may have none.
        self.penalty: Penalty | None = getattr(adversarial, "penalty", None)
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
        """One update: each network takes its turn on the pictures that G made at the start.

        :meth:`descend` is a backward pass, the optimiser's step and ``zero_grad``.
        """
        sr = super_resolve(self.generator, batch)  # x_f = G(x_LR): (B,3,h,w) → (B,3,s·h,s·w), about [0,1]
        turns = [self._generator_turn, self._discriminator_turn]
        first, second = turns if self.order == "generator_first" else turns[::-1]
        logged = first(sr, batch) | second(sr, batch)
        self.follow()
        return logged

    def _generator_turn(self, sr: Tensor, batch: Batch) -> Logged:
        """Minimises L_G = L_percep + λ·L_G^Ra + η·L_1 (eq. 3)."""
        hr, given = batch["hr"], {}  # x_r: (B,3,s·h,s·w)
        if self.losses.needs("adversarial"):
            with self.toggled_optimizer(self._optimizer("g")):  # D judges, and does not learn from this
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


def both_losses(
    adversarial: AdversarialLoss,
    discriminator: nn.Module,
    sr: Tensor,
    hr: Tensor,
    *,
    generator: bool = True,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(L_G, L_D, C(hr), C(sr)): L_G has a gradient to ``sr`` alone, L_D to the discriminator alone.

    With separate turns the discriminator sees each set of pictures twice, where the generator steps first
    with the same logits: its step changes neither ``sr`` nor the discriminator.

    Args:
        adversarial: the pair of losses.
        discriminator: (B,3,H,W) → raw logits.
        sr: x_f with its graph, (B,3,H,W).
        hr: x_r, (B,3,H,W).
        generator: whether L_G is asked for; else it comes back as 0.
        scale: of the gradient scaler, where there is one: what passes through the discriminator in half
            precision is kept in its range, as in an ordinary backward pass of the scaled loss.
    """
    seen = sr.detach().requires_grad_()
    real, fake = discriminator(hr), discriminator(seen)
    loss_g = fake.new_zeros(())
    if generator:
        scale = torch.ones_like(loss_g) if scale is None else scale
        loss_g = adversarial.generator_loss(real.detach(), fake)
        # By the chain rule ∂L/∂θ_G = ∂L/∂x · ∂x/∂θ_G. The first factor is taken here, through the
        # discriminator alone and with no gradient to its parameters; its graph is kept for L_D. The second
        # is left to the backward pass of the result, for which that graph is not needed any more.
        (gradient,) = torch.autograd.grad(loss_g * scale, seen, retain_graph=True)
        loss_g = _Relay.apply(sr, loss_g.detach(), gradient, scale)
    return loss_g, adversarial.discriminator_loss(real, fake), real, fake


class _Relay(Function):
    """L's value, with the gradient ∂L/∂x at the picture."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, value: Tensor, gradient: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, scale)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient, scale = ctx.saved_tensors
        return (gradient * (grad / scale).to(gradient.dtype), None, None, None)
