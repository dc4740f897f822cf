"""Means of figures of quality over all images seen, on all processes."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import rgb_to_y, shave, to_uint8


class _Mean(Metric):
    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, crop: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crop = crop
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """The mean over the images; NaN of none."""
        return self.total / self.count


class MeanFidelity(_Mean):
    """Mean of a figure of (sr, hr).

    Args:
        crop: pixels left out on each side; the literature takes the scale.
    """

    higher_is_better = True

    @abstractmethod
    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The figure of each image of a batch, (B,)."""

    def update(self, sr: Tensor, hr: Tensor) -> None:
        """Add the images of a batch."""
        self.total += self.measure(sr, hr).sum()
        self.count += len(sr)


class MeanScore(_Mean):
    """Mean of a figure of sr alone, over the images that have one.

    Args:
        crop: pixels left out on each side.
    """

    higher_is_better = False

    @abstractmethod
    def measure(self, sr: Tensor) -> Tensor:
        """The figure of each image of a batch, (B,); NaN of one that has none."""

    def update(self, sr: Tensor) -> None:
        """Add the images of a batch."""
        found = self.measure(sr)
        self.total += found[found.isfinite()].sum()
        self.count += found.isfinite().sum()


def luma_within(image: Tensor, crop: int, metric: str) -> Tensor:
    """Y in whole levels of an 8-bit image, without its border: (B, 1 or 3, H, W) → (B,1,h,w).

    Raises:
        InputError: another shape, or no pixel is left.
    """
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise InputError(f"{metric} takes (B, 1 or 3, H, W), got {tuple(image.shape)}")
    return rgb_to_y(shave(to_uint8(image), crop), rounded=True)
