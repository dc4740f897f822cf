"""How a stage asks its generator: with the LR, and with the maps where the batch has some."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import conditions_of


def enlarge(generator: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """generator(lr), or generator(lr, conditions): (B,3,h,w), (B,K,h,w) → (B,3,s·h,s·w), about [0,1].

    Args:
        generator: of either kind (:func:`~esrgan_lightning.networks.conditions_of` tells them apart).
        batch: with ``lr``, and ``conditions`` for a generator that takes them.

    Raises:
        InputError: the one has conditions and the other does not.
    """
    conditions = batch.get("conditions")
    check_conditions(generator, given=conditions is not None)
    sr: Tensor = generator(batch["lr"]) if conditions is None else generator(batch["lr"], conditions)
    return sr


def check_conditions(generator: nn.Module, *, given: bool) -> None:
    """Raises InputError where a generator takes maps and none are given, or the other way round."""
    classes = conditions_of(generator)
    if classes and not given:
        raise InputError(
            f"{type(generator).__name__} takes maps of {', '.join(classes)}: give conditions=maps "
            "conditions.dir=DIR, or conditions=torchvision"
        )
    if given and not classes:
        raise InputError(
            f"{type(generator).__name__} takes no maps: leave conditions= away, or choose generator=sft"
        )
