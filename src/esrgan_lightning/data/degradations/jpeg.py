"""A batch through JPEG and back on its own device, and ``degradation=jpeg``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from esrgan_lightning.data.degradations._common import (
    Range,
    check_range,
    check_seed,
    draws,
    to_levels,
    whole,
    workplace,
)
from esrgan_lightning.ops.pixels import divide, to_float
from esrgan_lightning.ops.resize import imresize

# ITU-T T.81, tables K.1 (luma) and K.2 (chroma): the ones that libjpeg scales by its quality.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# Coefficients that lie between two steps are common (those of the lowest frequency are eighths). The nudge
# settles them alike whatever the order of the sums: of batch, machine and device.
_TIE = 1e-9
_ROOT8 = math.sqrt(8)


def jpeg_round_trip(image: Tensor, quality: Sequence[int]) -> Tensor:
    """The images as they come back from JPEG files of these qualities (baseline, 4:2:0), in 8-bit levels.

    Every step rounds where libjpeg rounds: 8-bit input, YCbCr (JFIF), chroma averaged over 2×2, 8×8 DCT in
    two passes, division by Annex K's tables scaled by the quality, inverse DCT, triangular chroma upsampling,
    RGB. The cosines alone differ, 13-bit integers there: on photos of Set14 97 % of the values and more are
    libjpeg's, the rest leaves 54 dB and more between the two. kornia's codec, differentiable and for that
    rounding softly, is 36 to 48 dB away. The entropy coding loses nothing and is left out. No gradient.

    The sums are whole numbers or settled by a nudge: the result does not depend on the batch, the number of
    threads or the device.

    Args:
        image: (B,C,H,W), C 3 or 1 (gray: luma alone), floating, clamped to [0,1]; any device with float64.
        quality: B whole numbers in 1..100, on libjpeg's scale.

    Returns:
        (B,C,H,W) in [0,1], multiples of 1/255, of the dtype of ``image``.

    Source:
        ITU-T T.81 (1992), Annexes A and K; ITU-T T.871 (JFIF) for the colours.
    """
    height, width = image.shape[-2:]
    levels = to_levels(image.to(torch.float64))
    # Blocks of 8, and of 16 where the chroma is halved: the last row and column are repeated.
    levels = F.pad(levels, (0, -width % 16, 0, -height % 16), mode="replicate")
    if levels.shape[1] == 1:
        luma = _coded(levels, _LUMA, quality)[..., :height, :width]
        return divide(luma.to(image.dtype), 255)
    red, green, blue = levels.unbind(1)
    luma = _fixed(19595 * red + 38470 * green + 7471 * blue)
    # Half is rounded down here: libjpeg's way to stay below 256.
    blueness = 128 + _fixed(-11058 * red - 21710 * green + 32768 * blue - 1)
    redness = 128 + _fixed(32768 * red - 27439 * green - 5329 * blue - 1)

    luma = _coded(luma[:, None], _LUMA, quality)[:, 0, :height, :width]
    chroma = F.avg_pool2d(torch.stack([blueness, redness], 1), 2)
    # The sum of four is rounded down and up in turns, so that the average is kept.
    chroma = (chroma + _alternating(chroma, 0.25, 0.5)).floor()
    chroma = _coded(chroma, _CHROMA, quality)[:, :, : -(-height // 2), : -(-width // 2)]
    blueness, redness = (_doubled(chroma)[:, :, :height, :width] - 128).unbind(1)

    rgb = torch.stack(
        [
            luma + _fixed(91881 * redness),
            luma + _fixed(-22553 * blueness - 46802 * redness),
            luma + _fixed(116130 * blueness),
        ],
        dim=1,
    )
    return divide(rgb.clamp(0, 255).to(image.dtype), 255)


def _fixed(x: Tensor) -> Tensor:
    """A sum with JFIF's colour coefficients in 1/65536, rounded: whole numbers, so it is exact."""
    return ((x + 32768) / 65536).floor()


def _rounded(x: Tensor) -> Tensor:
    return (x + (0.5 + _TIE)).floor()


def _alternating(like: Tensor, even: float, odd: float) -> Tensor:
    """A row (W,) of two values in turns."""
    row = torch.full((like.shape[-1],), even, dtype=like.dtype, device=like.device)
    row[1::2] = odd
    return row


def _coded(plane: Tensor, table: Sequence[Sequence[int]], quality: Sequence[int]) -> Tensor:
    """Whole levels (B,C,H,W) through the quantised DCT: the only step that loses by the quality."""
    batch, channels, height, width = plane.shape
    basis = torch.from_numpy(_dct()).to(plane.device)
    tables = np.stack([_scaled(np.asarray(table), q) for q in quality])
    steps = torch.from_numpy(tables).to(plane.device)[:, None, None, None]
    blocks = plane.reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    # Both passes leave integers, as libjpeg's do: 4 √8 times the values, then 8 times the coefficients.
    first = _rounded((blocks - 128) @ basis.T * (4 * _ROOT8))
    coefficients = _rounded(basis @ first * (_ROOT8 / 4)) / (8 * steps)
    coefficients = coefficients.sign() * _rounded(coefficients.abs()) * steps
    first = _rounded(basis.T @ coefficients * (4 * _ROOT8))
    blocks = _rounded(first @ basis / (4 * _ROOT8) + 128).clamp(0, 255)
    return blocks.transpose(3, 4).reshape(batch, channels, height, width)


def _scaled(table: NDArray[np.int64], quality: int) -> NDArray[np.float64]:
    """Libjpeg's scale of 1..100: 50 is the table itself, 100 no loss but rounding."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * percent + 50) // 100).clip(1, 255).astype(np.float64)


@lru_cache(maxsize=1)
def _dct() -> NDArray[np.float64]:
    """The orthonormal DCT-II of 8 points: row k is the k-th cosine."""
    k, x = np.mgrid[:8, :8]
    rows = np.cos((2 * x + 1) * k * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return np.asarray(rows, np.float64)


def _doubled(chroma: Tensor) -> Tensor:
    """Twice the size by the weights 3/4 and 1/4, as libjpeg's "fancy" upsampling, with its rounding."""
    smooth = F.interpolate(chroma, scale_factor=2, mode="bilinear")
    # Sums of sixteenths: halves are rounded up in even columns and down in odd ones.
    return (smooth + _alternating(smooth, 8 / 16, 7 / 16)).floor()


@final
@dataclass(frozen=True)
class BicubicJpeg:
    """MATLAB's bicubic, then a JPEG file and back (:func:`jpeg_round_trip`): equal bits on CPU and CUDA.

    Args:
        quality: lowest and highest quality on libjpeg's scale of 1..100; whole numbers, drawn uniformly.
        seed: of the draws.

    Raises:
        InputError: a setting is out of its range.
    """

    quality: Range = (30, 95)
    seed: int = 0

    margin: ClassVar[int] = 18  # the bicubic's 2, and a neighbouring chroma block of 16

    def __post_init__(self) -> None:
        check_seed(self.seed)
        object.__setattr__(self, "quality", check_range("quality", self.quality, 1, 100, whole=True))

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """uint8 (B,C,H,W), sample numbers (B,) → uint8 (B,C,H/scale,W/scale)."""
        qualities = [whole(self.quality, draws(self.seed, n).random()) for n in numbers.tolist()]
        small = to_float(imresize(workplace(hr), 1 / scale))
        return to_levels(jpeg_round_trip(small, qualities)).to(torch.uint8).to(hr.device)
