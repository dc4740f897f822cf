"""Depth and framing of pixels: integers to [0,1] and back, and the crops of the literature."""

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError

# The largest value of each integer dtype that an image may have.
PEAK = {torch.uint8: 255, torch.uint16: 65535}


def to_float(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integers to [0,1]: uint8 / 255, uint16 / 65535; a floating image only changes its dtype.

    Args:
        image: any shape, uint8, uint16, or floating, which is taken to be in [0,1] already.
        dtype: the floating dtype of the result.

    Raises:
        TypeError: another dtype.

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    if image.is_floating_point():
        return image.to(dtype)
    peak = _peak(image)
    exact = dtype if dtype in (torch.float32, torch.float64) else torch.float32  # 65535 overflows a half
    return divide(image.to(exact), peak).to(dtype)


def divide(x: Tensor, by: float) -> Tensor:
    """Divides to the same bits on every device: by a plain number CUDA multiplies by its reciprocal.

    Example:
        >>> divide(torch.tensor([51.0]), 255)
        tensor([0.2000])
    """
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

    Example:
        >>> to_uint8(torch.tensor([-0.1, 0.5, 1.2]))
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    return from_float(image, torch.uint8)


def to_uint16(image: Tensor) -> Tensor:
    """[0,1] to 0..65535: clamp, then floor(65535 x + 0.5); uint8 is multiplied by 257; uint16 stays.

    Raises:
        ValueError: a value is NaN. Infinities are clamped.
        TypeError: another integer dtype.
    """
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
    """Cut ``border`` pixels from each side of (…, H, W).

    Raises:
        InputError: ``border`` is negative or leaves nothing.
    """
    height, width = image.shape[-2:]
    if border < 0 or min(height, width) <= 2 * border:
        raise InputError(f"a border of {border} cannot be cut from each side of {height}×{width} (H×W)")
    return image[..., border : height - border, border : width - border]


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
