"""What the discriminator minimises: the adversarial loss, and its gradient penalty where there is one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses.adversarial import AdversarialLoss
from esrgan_lightning.losses.penalty import Penalty, check_image_by_image


def penalty_of(adversarial: AdversarialLoss, discriminator: nn.Module) -> Penalty | None:
    """The loss's penalty, or None, also where a loss of one's own knows of none.

    Raises:
        InputError: there is one, and the discriminator has batch norm.
    """
    penalty: Penalty | None = getattr(adversarial, "penalty", None)
    if penalty is not None:
        check_image_by_image(discriminator)
    return penalty


def penalised(
    loss: Tensor,
    penalty: Penalty | None,
    discriminator: nn.Module,
    sr: Tensor,
    batch: Mapping[str, Any],
    *,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's whole loss, and the penalty in it by name, without its weight.

    Args:
        loss: the adversarial one.
        penalty: as :func:`penalty_of` has found it.
        discriminator: which learns.
        sr: the generator's pictures; nothing flows back to them.
        batch: with ``hr`` and, for a penalty, ``number``.
        step: of the discriminator on this batch, from 0.

    Raises:
        InputError: a penalty, and the samples have no numbers.
    """
    if penalty is None:
        return loss, {}
    if "number" not in batch:
        raise InputError('the gradient penalty draws by sample: give batches a "number", a list of int')
    # Not through __call__: a compiled network has no second derivative.
    value = penalty(discriminator.forward, batch["hr"], sr, numbers=batch["number"], step=step)
    return loss + penalty.weight * value, {"gradient_penalty": value}
