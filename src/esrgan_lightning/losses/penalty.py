"""Gradient penalties: what is added to a discriminator's loss to keep it smooth.

Both act on one score for each image, C(x): its logit or the mean over its map of logits. ∇C(x) is taken over
all values of the image, and images are in [0,1]: in the papers they are in [−1,1], where the same
discriminator has half the gradient. They are computed in float32, apart from mixed precision.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32, check_weight

Critic = Callable[[Tensor], Tensor]  # (B,3,H,W) → raw logits
_STREAM = 8  # counter word of these draws; the lower ones are those of the data


@dataclass(frozen=True)
class Penalty(ABC):
    """What the GAN stage asks of a penalty: L_D + weight · penalty(…) is minimised."""

    weight: float

    def __post_init__(self) -> None:
        check_weight("penalty.weight", self.weight)

    @abstractmethod
    def __call__(
        self, critic: Critic, real: Tensor, fake: Tensor, *, numbers: Sequence[int], step: int
    ) -> Tensor:
        """The penalty without its weight, a scalar of at least float32, with graph to the critic.

        Args:
            critic: (B,3,H,W) → raw logits, in eager mode.
            real: HR pictures, (B,3,H,W) in [0,1].
            fake: SR pictures of the same shape.
            numbers: of the samples; no two of a run are equal.
            step: of the discriminator on this batch, from 0.
        """


@final
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """E[(‖∇C(x̂)‖₂ − 1)²], x̂ = ε x_r + (1 − ε) x_f (Gulrajani et al. 2017, eq. 3).

    With :class:`~esrgan_lightning.losses.WassersteinGAN` it is WGAN-GP. ε ~ U[0,1] follows from the seed, the
    sample's number and the discriminator's step, so that several processes and a resumed run draw the same.

    Args:
        weight: λ; 10 in the paper.
        seed: of ε.
    """

    weight: float = 10.0
    seed: int = 0

    def __call__(
        self, critic: Critic, real: Tensor, fake: Tensor, *, numbers: Sequence[int], step: int
    ) -> Tensor:
        """E[(‖∇C(x̂)‖ − 1)²]."""
        share = torch.tensor([_uniform(self.seed, number, step) for number in numbers], dtype=torch.float64)
        real, fake = at_least_float32(real), at_least_float32(fake)
        share = share.to(real).view(-1, 1, 1, 1)
        gradient = _gradient(critic, share * real + (1 - share) * fake)
        # vector_norm sends 0, not 0/0, back from a gradient that vanishes.
        norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return (norm - 1).square().mean()


@final
@dataclass(frozen=True)
class R1Penalty(Penalty):
    """E[‖∇C(x_r)‖₂²] on real pictures (Mescheder et al. 2018, eq. 9): any game then converges locally.

    Args:
        weight: γ/2; the paper has γ = 10.
    """

    weight: float = 5.0

    def __call__(
        self, critic: Critic, real: Tensor, fake: Tensor, *, numbers: Sequence[int], step: int
    ) -> Tensor:
        """E[‖∇C(x_r)‖²]."""
        return _gradient(critic, at_least_float32(real)).flatten(1).square().sum(1).mean()


def check_image_by_image(discriminator: nn.Module) -> None:
    """Raises InputError for batch norm, through which ∇C(x) of one image depends on the others."""
    if any(isinstance(module, _BatchNorm) for module in discriminator.modules()):
        raise InputError(
            "loss.adversarial.penalty is about the gradient of each image, and the discriminator's batch "
            "norm mixes the images of a batch: give discriminator.norm=none, or discriminator=unet"
        )


def _gradient(critic: Critic, images: Tensor) -> Tensor:
    """∇C(x) of each image, (B,3,H,W), with graph to the critic's parameters."""
    images = images.detach().requires_grad_()
    with torch.autocast(images.device.type, enabled=False):
        scores = critic(images).flatten(1).mean(1)
        # One image's score depends on no other image: the gradient of the sum holds each one's own.
        (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient


def _uniform(seed: int, number: int, step: int) -> float:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, step, number, _STREAM])).random()
