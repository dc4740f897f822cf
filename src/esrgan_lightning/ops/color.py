"""Luma as the literature of super-resolution computes it, and gray."""

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.pixels import to_float


def rgb_to_y(image: Tensor, *, rounded: bool) -> Tensor:
    """BT.601 luma of studio range, MATLAB's ``rgb2ycbcr``: Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255.

    R, G, B are on 0..255 here, so Y lies in 16..235. A gray image is not mapped: it is returned on 0..255.

    Args:
        image: (…, C, H, W), C = 3 (RGB) or 1 (gray); uint8, uint16 or floating in [0,1].
        rounded: round half up to whole levels, as MATLAB does for uint8 and as published PSNR and SSIM
            have it; False keeps the fraction, and gradients.

    Returns:
        (…, 1, H, W) on the scale 0..255; float64 for integer images, else the dtype of ``image``.

    Raises:
        InputError: C is neither 1 nor 3.
        TypeError: the dtype is none of the above.

    Source:
        ITU-R BT.601-7, section 2.5.

    Example:
        >>> white = torch.ones(3, 1, 1)
        >>> rgb_to_y(white, rounded=True).item()
        235.0
    """
    channels = image.shape[-3] if image.ndim >= 3 else 0
    if channels not in (1, 3):
        raise InputError(f"luma needs (…, 3, H, W) or (…, 1, H, W), got {tuple(image.shape)}")
    if image.dtype is torch.uint8:
        x, full = image.to(torch.float64), 255
    else:
        x, full = to_float(image, image.dtype if image.is_floating_point() else torch.float64), 1
    if channels == 1:
        y = x * (255 / full)
    else:
        red, green, blue = x.unbind(-3)
        # Whole coefficients keep the sum of uint8 pixels exact, so that a tie is a tie in the division too.
        y = (65481 * red + 128553 * green + 24966 * blue) / (1000 * full) + 16
        y = y.unsqueeze(-3)
    return (y + 0.5).floor() if rounded else y


def rgb_to_gray(image: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B (BT.601, full range), rounded: Pillow's ``convert("L")`` to the bit.

    Args:
        image: (…, 3, H, W) uint8. Where R = G = B, that is the result.

    Returns:
        (…, 1, H, W) uint8.
    """
    red, green, blue = image.to(torch.int32).unbind(-3)
    gray = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return gray.to(torch.uint8).unsqueeze(-3)
