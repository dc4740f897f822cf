"""Consistency: an SR picture, shrunk again, is its LR."""

from typing import final

from torch import Tensor, nn

from esrgan_lightning.losses._common import at_least_float32, check_same_shape
from esrgan_lightning.ops import imresize


@final
class ConsistencyLoss(nn.Module):
    """L = ‖↓SR − ↓HR‖₁, ↓ MATLAB's bicubic by 1/scale, in the mean over pixels.

    ↓HR is the LR before its rounding to 8 bits, whatever else a degradation has done to the LR. The loss
    holds colors and coarse structure, which a perceptual and an adversarial loss hardly feel, and leaves
    details free: whatever averages out over scale × scale pixels costs nothing.

    Args:
        scale: Of the generator.

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
