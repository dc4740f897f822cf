"""Figures that tell early that a training goes wrong; each costs one pass over a batch of images."""

import torch
from torch import Tensor


def color_shift(sr: Tensor, lr: Tensor) -> dict[str, Tensor]:
    """How much redder, greener and bluer the pictures came out than they went in.

    The mean of SR − LR for each channel. Averaging SR over s×s pixels brings it to the size of LR and leaves
    its mean as it is, so the means are all that it takes.

    Args:
        sr: (B,3,s·h,s·w) in [0,1].
        lr: (B,3,h,w) in [0,1].

    Returns:
        ``train/color_shift_r``, ``…_g`` and ``…_b``, each in [−1,1].
    """
    with torch.no_grad():
        shift = sr.float().mean((0, 2, 3)) - lr.float().mean((0, 2, 3))
    return {f"train/color_shift_{channel}": value for channel, value in zip("rgb", shift, strict=True)}
