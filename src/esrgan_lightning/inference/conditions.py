"""Maps for generators that take them, on their way to the network: channels behind the colours."""

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops import to_float


def checked(conditions: Tensor | None, image: Tensor, generator: nn.Module, passes: int) -> Tensor | None:
    """The maps of a batch as floats in [0,1], None for a generator that takes none.

    Args:
        conditions: (K,H,W) for all images or (B,K,H,W), floating in [0,1] or uint8.
        image: (B,C,H,W).
        generator: Which says by its classes what it takes.
        passes: How often it will run over its own result.

    Raises:
        InputError: Maps are missing or not wanted, do not fit the image, or would not fit its result.
    """
    classes = conditions_of(generator)
    kind = type(generator).__name__
    if conditions is None and not classes:
        return None
    if conditions is None:
        raise InputError(
            f"{kind} takes maps of {', '.join(classes)}: give them (--maps DIR, or upscale(image, maps))"
        )
    if not classes:
        raise InputError(f"{kind} takes no maps: leave them away")
    if passes > 1:
        raise InputError(f"{kind} has maps for one pass: give a scale of at most its own")
    batch = conditions if conditions.ndim == 4 else conditions[None]
    size = (len(image), len(classes), *image.shape[-2:])
    if batch.shape[1:] != size[1:] or len(batch) not in (1, len(image)):
        raise InputError(f"maps of {tuple(conditions.shape)} where the image and {kind} ask for {size}")
    return to_float(batch).expand(size).to(image.device)


def concat_conditions(colors: Tensor, conditions: Tensor | None) -> Tensor:
    """Colours, floating, and the maps behind them: (B,C,H,W) and (B,K,H,W) → (B,C+K,H,W)."""
    return colors if conditions is None else torch.cat([colors, conditions.to(colors.dtype)], 1)
