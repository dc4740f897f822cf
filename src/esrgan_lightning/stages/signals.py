"""Figures that tell early that a training goes wrong; each costs one pass over a batch of images."""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor

from esrgan_lightning.ops.distributed import logged_means

_SHOWN = ("loss", "loss_g", "loss_d")  # beside the bar, too


def color_shift(sr: Tensor, lr: Tensor) -> dict[str, Tensor]:
    """How much redder, greener and bluer the pictures came out than they went in.

    The mean of SR − LR for each channel, over the batch. Averaging SR over s×s pixels
    brings it to the size of LR and leaves its mean as it is, so the means are all that it takes.

    Args:
        sr: (B,3,s·h,s·w) in [0,1].
        lr: (B,3,h,w) in [0,1].

    Returns:
        ``color_shift_r``, ``…_g`` and ``…_b``, each in [−1,1].
    """
    with torch.no_grad():
        sr, lr = (each if each.dtype == torch.float64 else each.float() for each in (sr, lr))
        shift = sr.mean((0, 2, 3)) - lr.mean((0, 2, 3))
    return dict(zip((f"color_shift_{channel}" for channel in "rgb"), shift, strict=True))


def log_means(stage: pl.LightningModule, values: Mapping[str, Tensor]) -> None:
    """Logs each scalar's mean over the processes as ``train/NAME``."""
    for name, value in logged_means(values).items():
        stage.log(f"train/{name}", value, prog_bar=name in _SHOWN)
