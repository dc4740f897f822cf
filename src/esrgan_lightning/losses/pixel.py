"""Distances of pixels: Charbonnier's, and of the pictures shrunk again; torch has L1 and MSE."""

import math
from typing import final

from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32, check_same_shape
from esrgan_lightning.ops import imresize


@final
class CharbonnierLoss(nn.Module):
    """Charbonnier loss, a smooth L1: mean over all elements of √((sr − hr)² + ε²).

    Source: Lai et al., LapSRN, CVPR 2017 (there ε = 1e-3). BasicSR's √(d² + 1e-12) is this at ε = 1e-6.

    Args:
        eps: ε > 0, in units of the image ([0,1]).

    Shape:
        sr, hr of one shape → scalar, at least float32.

    Raises:
        InputError: ε is not a positive number, or the shapes differ.
    """

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        if not (math.isfinite(eps) and eps > 0):
            raise InputError(f"eps={eps}: expected a positive number such as 1e-6")
        self.eps = eps

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """√((sr − hr)² + ε²), mean over everything."""
        check_same_shape(sr, hr)
        difference = at_least_float32(sr) - at_least_float32(hr)
        return (difference.square() + self.eps**2).sqrt().mean()


@final
class ConsistencyLoss(nn.Module):
    """L = ‖↓SR − ↓HR‖₁, ↓ MATLAB's bicubic by 1/scale, in the mean over pixels.

    The loss holds colors and coarse structure, which a perceptual and an adversarial loss hardly feel, and
    leaves details free: whatever averages out over scale × scale pixels costs nothing.

    Shape:
        sr, hr: (B,3,H,W), [0,1] → scalar, at least float32. Gradient flows to sr alone.

    Raises:
        InputError: Pictures of different shapes.
    """

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The mean distance of the shrunk pictures."""
        check_same_shape(sr, hr)
        # Resizing is linear.
        return imresize(at_least_float32(sr) - at_least_float32(hr).detach(), 1 / self.scale).abs().mean()
