"""MATLAB's bicubic."""

from torch import Tensor

from esrgan_lightning.ops import imresize


class Bicubic:
    """LR = imresize(HR, 1/s): the degradation of the paper and of the field's test sets."""

    margin = 2  # the widened kernel reaches 2 LR pixels to each side

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """HR (B,3,H,W) uint8 → LR (B,3,H/s,W/s) uint8; the numbers play no part."""
        return imresize(hr, 1 / scale)
