"""Adversarial losses over raw logits: relativistic average, standard, least squares, hinge, Wasserstein.

C is the discriminator's raw output, with no sigmoid: (B,1), or (B,1,H,W) from a patch or U-Net discriminator.
E[·] is the mean over the mini-batch and, for a map, over its positions as well. Each of several processes
returns the mean over its own share; what stands inside a nonlinear function is taken over the whole batch:
:func:`batch_mean`.

Only ``needs_real_in_generator`` losses look at ``real`` in the generator's step: for the others the stage may
pass None and save a pass of the discriminator. The stage adds a loss's ``penalty``, which needs the
discriminator itself (see :mod:`~esrgan_lightning.losses.penalty`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import Tensor
from torch.nn.functional import relu, softplus

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32
from esrgan_lightning.losses.penalty import Penalty
from esrgan_lightning.ops.distributed import mean_over_processes


@dataclass(frozen=True)
class AdversarialLoss(ABC):
    """What the GAN stage asks of an adversarial loss; both functions return a scalar of at least float32."""

    needs_real_in_generator: ClassVar[bool] = False
    penalty: Penalty | None = field(default=None, kw_only=True)  # added to the discriminator's loss

    @abstractmethod
    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Loss of the generator, from raw logits of HR and SR pictures."""

    @abstractmethod
    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the discriminator, from raw logits of HR and (detached) SR pictures."""


def batch_mean(logits: Tensor) -> Tensor:
    """E[C(x)]: the mean over the batch of all processes and, for a map of logits, over its positions.

    It carries gradient to the logits of all W processes: the mean m over all N samples enters the loss l_r
    of every process r, so that a logit c of process q has W · ∂L/∂c = ∂l_q/∂c + (1/N) Σ_r ∂l_r/∂m.
    """
    return mean_over_processes(at_least_float32(logits).mean())


@final
@dataclass(frozen=True)
class RelativisticAverageGAN(AdversarialLoss):
    """Relativistic average GAN (ESRGAN, section 3.2; Jolicoeur-Martineau 2018).

    With D_Ra(x, y) = σ(C(x) − E[C(y)]), real x_r and fake x_f::

        L_D = −E[log D_Ra(x_r, x_f)]       − E[log(1 − D_Ra(x_f, x_r))]
        L_G = −E[log(1 − D_Ra(x_r, x_f))]  − E[log D_Ra(x_f, x_r)]

    computed as softplus, −log σ(z) = softplus(−z), which stays finite where σ(z) rounds to 0. In the paper's
    form both inner means carry gradient, in both halves of either loss.

    Args:
        halved: Halve both losses, as BasicSR does; the weight of the adversarial term is then half as strong.
        detach_mean_in_discriminator: Send no gradient through the inner means of L_D, as BasicSR does; its
            L_G keeps them attached, as here.
        label_smoothing: s in L_D's targets, 1 − s in place of 1 for D_Ra(x_r, x_f) and s in place of 0 for
            D_Ra(x_f, x_r): the discriminator gains nothing beyond a distance of log((1 − s)/s). 0, the
            paper's, to below 0.5.

    Raises:
        InputError: ``label_smoothing`` out of range.
    """

    needs_real_in_generator: ClassVar[bool] = True
    halved: bool = False
    detach_mean_in_discriminator: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 0.5:
            raise InputError(f"label_smoothing={self.label_smoothing} must be at least 0 and below 0.5")

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """L_G of the class's text."""
        if real is None:
            raise ValueError(
                "a relativistic generator loss compares with the logits of real pictures: got None"
            )
        real_score, fake_score = _relative(real, batch_mean(fake)), _relative(fake, batch_mean(real))
        loss = softplus(real_score).mean() + softplus(-fake_score).mean()
        return loss / 2 if self.halved else loss

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """L_D of the class's text."""
        real_mean, fake_mean = batch_mean(real), batch_mean(fake)
        if self.detach_mean_in_discriminator:
            real_mean, fake_mean = real_mean.detach(), fake_mean.detach()
        real_score, fake_score = _relative(real, fake_mean), _relative(fake, real_mean)
        loss = softplus(-real_score).mean() + softplus(fake_score).mean()
        if self.label_smoothing:  # −t log σ(z) − (1 − t) log(1 − σ(z)) = softplus(−z) + (1 − t) z
            loss = loss + self.label_smoothing * (real_score.mean() - fake_score.mean())
        return loss / 2 if self.halved else loss


@final
class StandardGAN(AdversarialLoss):
    """Standard GAN in its non-saturating form (Goodfellow et al. 2014, section 3; SRGAN, section 2.2.2)."""

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """−E[log σ(C(x_f))]."""
        return softplus(-at_least_float32(fake)).mean()

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """−E[log σ(C(x_r))] − E[log(1 − σ(C(x_f)))]."""
        return softplus(-at_least_float32(real)).mean() + softplus(at_least_float32(fake)).mean()


@final
class LeastSquaresGAN(AdversarialLoss):
    """Least squares GAN with labels 0 and 1 (Mao et al. 2017, equation 9)."""

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """½ E[(C(x_f) − 1)²]."""
        return 0.5 * (at_least_float32(fake) - 1).square().mean()

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """½ E[(C(x_r) − 1)²] + ½ E[C(x_f)²]."""
        return 0.5 * ((at_least_float32(real) - 1).square().mean() + at_least_float32(fake).square().mean())


@final
class HingeGAN(AdversarialLoss):
    """Hinge GAN (Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17)."""

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """−E[C(x_f)]."""
        return -at_least_float32(fake).mean()

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[max(0, 1 − C(x_r))] + E[max(0, 1 + C(x_f))]."""
        return relu(1 - at_least_float32(real)).mean() + relu(1 + at_least_float32(fake)).mean()


@final
class WassersteinGAN(AdversarialLoss):
    """Wasserstein GAN (Arjovsky et al. 2017, section 3), for a critic that a penalty or its layers smooth."""

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """−E[C(x_f)]."""
        return -at_least_float32(fake).mean()

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[C(x_f)] − E[C(x_r)]."""
        return at_least_float32(fake).mean() - at_least_float32(real).mean()


def _relative(logits: Tensor, opposite_mean: Tensor) -> Tensor:
    """C(x) − E[C(y)], the raw score whose sigmoid is D_Ra(x, y)."""
    return at_least_float32(logits) - opposite_mean
