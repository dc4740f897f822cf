"""Which size a result has, and how it comes about."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize

# 2.7 · 100 is a little above 270 in floating point.
_SLACK = 1e-6
#: The largest scale: 100 pixels become 6,400.
MAX_SCALE = 64


class Enlargement(NamedTuple):
    """The model so many times, then a bicubic reduction to the scale that was asked for."""

    scale: float  # size of the result over that of the image
    model_scale: int
    passes: int  # how often the model runs, each time on its own result

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result: ceil(n·scale), as imresize has it."""
        return math.ceil(height * self.scale - _SLACK), math.ceil(width * self.scale - _SLACK)

    @property
    def reduction(self) -> float:
        """What remains to be resized after the last pass, at most 1."""
        return float(self.scale / self.model_scale**self.passes)

    def resized(self, image: Tensor, factor: float, height: int, width: int) -> Tensor:
        """(B,C,h,w) resized by ``factor`` to what an image of height × width becomes; plane by plane.

        The sums are taken in float64: for one plane at a time that is less than the result itself in RGB.
        """
        rows, columns = self.size(height, width)
        if factor == 1:
            return image
        result = torch.empty((*image.shape[:2], rows, columns), dtype=image.dtype, device=image.device)
        for index in range(image.shape[1]):
            result[:, index] = imresize(image[:, index], factor)[..., :rows, :columns]
        return result


def enlargement(scale: float | None, model_scale: int) -> Enlargement:
    """How a model of some scale reaches another: as few passes as reach it or go beyond it.

    Raises:
        InputError: A scale below 1, above ``MAX_SCALE``, or above 1 with a model of scale 1.

    Example:
        >>> enlargement(2.7, 4).passes, enlargement(6, 4).passes, enlargement(6, 4).reduction
        (1, 2, 0.375)
    """
    if scale is None or scale == model_scale:
        return Enlargement(model_scale, model_scale, 1)
    if not 1 <= scale <= MAX_SCALE:  # NaN fails too
        raise InputError(f"scale={scale} must lie between 1 and {MAX_SCALE}")
    if model_scale == 1:
        raise InputError(f"scale={scale}: a model of scale 1 cannot enlarge, choose another")
    passes = 1
    while model_scale**passes < scale:
        passes += 1
    return Enlargement(scale, model_scale, passes)
