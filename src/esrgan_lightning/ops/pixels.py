"""Depth, luma and framing of pixels: integers to [0,1] and back, Y and the crops of the literature."""

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError

# The largest value of each integer dtype that an image may have.
PEAK = {torch.uint8: 255, torch.uint16: 65535}


def to_float(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """To [0,1] in a floating ``dtype``: uint8 / 255, uint16 / 65535; floating images lie in it already.

    Raises:
        TypeError: another dtype.

    >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    if image.is_floating_point():
        return image.to(dtype)
    peak = _peak(image)
    exact = dtype if dtype in (torch.float32, torch.float64) else torch.float32  # 65535 overflows a half
    return divide(image.to(exact), peak).to(dtype)


def divide(x: Tensor, by: float) -> Tensor:
    """Divides to the same bits on every device: by a plain number CUDA multiplies by its reciprocal."""
    return x / x.new_full((), by)


def from_float(image: Tensor, dtype: torch.dtype) -> Tensor:
    """[0,1] to ``dtype``, the inverse of ``to_float``; integers as ``to_uint8`` and ``to_uint16`` make them.

    Raises:
        ValueError: a value is NaN and ``dtype`` has none.
        TypeError: ``dtype`` is another integer.
    """
    if dtype.is_floating_point:
        return image.to(dtype)
    if dtype not in PEAK:
        raise TypeError(f"{dtype} is no dtype of images; give uint8, uint16 or a floating one")
    if image.dtype is dtype:
        return image
    if image.is_floating_point():
        exact = _quantised(image, PEAK[dtype])
        return (exact.to(torch.int32) if dtype is torch.uint16 else exact).to(dtype)
    _peak(image)
    whole = image.to(torch.int32)
    return (whole * 257 if dtype is torch.uint16 else (whole + 128) // 257).to(dtype)


def to_uint8(image: Tensor) -> Tensor:
    """[0,1] to 0..255: clamp, then floor(255 x + 0.5); uint16 is divided by 257 and rounded; uint8 stays.

    Raises:
        ValueError: a value is NaN. Infinities are clamped.
        TypeError: another integer dtype.

    >>> to_uint8(torch.tensor([-0.1, 0.5, 1.2]))
    tensor([  0, 128, 255], dtype=torch.uint8)
    """
    return from_float(image, torch.uint8)


def to_uint16(image: Tensor) -> Tensor:
    """[0,1] to 0..65535 as ``to_uint8``: floor(65535 x + 0.5); uint8 is multiplied by 257; uint16 stays."""
    return from_float(image, torch.uint16)


def modcrop(image: Tensor, scale: int) -> Tensor:
    """Cut (…, H, W) at the bottom and right to multiples of ``scale``, so that HR = scale × LR exactly.

    Raises:
        InputError: ``scale`` is below 1, or the image is smaller than it.
    """
    height, width = image.shape[-2:]
    if scale < 1 or height < scale or width < scale:
        raise InputError(f"an image of {height}×{width} (H×W) cannot be cropped to a multiple of {scale}")
    return image[..., : height - height % scale, : width - width % scale]


def shave(image: Tensor, border: int) -> Tensor:
    """Cut ``border`` pixels from each side of (…, H, W); InputError where that leaves nothing."""
    height, width = image.shape[-2:]
    if border < 0 or min(height, width) <= 2 * border:
        raise InputError(f"a border of {border} cannot be cut from each side of {height}×{width} (H×W)")
    return image[..., border : height - border, border : width - border]


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

    >>> rgb_to_y(torch.ones(3, 1, 1), rounded=True).item()
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
    """(…,3,H,W) → (…,1,H,W) uint8: Pillow's ``convert("L")``, 0.299 R + 0.587 G + 0.114 B (BT.601)."""
    red, green, blue = image.to(torch.int32).unbind(-3)
    gray = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return gray.to(torch.uint8).unsqueeze(-3)


def _quantised(image: Tensor, peak: int) -> Tensor:
    exact = image if image.dtype is torch.float64 else image.float()  # a half has 11 bits, too few to round
    if exact.isnan().any():
        # As an integer NaN would be black, and a broken network would look like a dark picture.
        raise ValueError("the image holds NaN; if a network made it in fp16, use fp32 or bf16")
    return exact.clamp(0, 1).mul(peak).add(0.5).floor()


def _peak(image: Tensor) -> int:
    if image.dtype not in PEAK:
        raise TypeError(f"an image of dtype {image.dtype}; give uint8, uint16 or a floating dtype in [0,1]")
    return PEAK[image.dtype]
