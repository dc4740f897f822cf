"""What every loss does to its arguments first."""

import math

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError


def at_least_float32(x: Tensor) -> Tensor:
    """Widens half precision: under autocast the networks answer in bf16 or fp16, too coarse for a mean."""
    return x if x.dtype == torch.float64 else x.float()


def check_same_shape(sr: Tensor, hr: Tensor) -> None:
    """Refuses pictures of different shapes, which torch's own losses would broadcast."""
    if sr.shape != hr.shape:
        raise InputError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)}: the shapes have to be equal")


def check_weight(key: str, weight: float) -> None:
    """Refuses a weight that is negative, not finite or no number at all."""
    if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
        raise InputError(f"{key}={weight}: expected a finite number of at least 0")
