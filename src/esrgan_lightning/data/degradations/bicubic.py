"""``degradation=bicubic``, ``bicubic_noise`` and ``jpeg``: MATLAB's bicubic, and what may follow it."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar, final

import numpy as np
import torch
from kornia.color import rgb_to_grayscale
from PIL import Image
from torch import Tensor

from esrgan_lightning.data.degradations._common import (
    Range,
    between,
    check_probability,
    check_range,
    check_seed,
    draws,
    noise_source,
    to_levels,
    whole,
)
from esrgan_lightning.ops.pixels import to_float
from esrgan_lightning.ops.resize import imresize


def gaussian_noise(image: Tensor, sigma: float, *, gray: bool, source: torch.Generator) -> Tensor:
    """X + σ/255 · n, n ~ N(0, 1), clamped to [0,1].

    Args:
        image: (C,H,W), C 3 or 1, floating, in [0,1].
        sigma: standard deviation in 8-bit levels.
        gray: one n for all channels of a pixel instead of one for each.
        source: of the random numbers, on the image's device.

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.2 (noise).
    """
    channels = 1 if gray else image.shape[0]
    shape = (channels, *image.shape[1:])
    noise = torch.randn(shape, generator=source, device=image.device, dtype=image.dtype)
    return (image + noise * (sigma / 255)).clamp(0, 1)


def poisson_noise(image: Tensor, strength: float, *, gray: bool, source: torch.Generator) -> Tensor:
    """X + a · (Poisson(v x₈) / v − x₈), clamped to [0,1]: shot noise, its variance a² x₈ / v.

    x₈ is the image (with ``gray`` its luma) in 8-bit levels, and v the number of levels that occur in it,
    rounded up to a power of two: the photons that a pixel of full brightness counts.

    Args:
        image: (C,H,W), C 3 or 1, floating, in [0,1].
        strength: a; 1 is the noise of v photons.
        gray: one noise for all channels.
        source: of the random numbers, on the image's device.

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.2; v as in the authors' release.
    """
    levels = to_levels(rgb_to_grayscale(image) if gray and len(image) == 3 else image)
    # Counted on the device: asking for the number would wait for it.
    seen = torch.zeros(256, dtype=torch.bool, device=image.device)
    seen[levels.long().flatten()] = True
    powers = 2 ** torch.arange(8, device=image.device)
    photons = 2.0 ** (powers < seen.sum()).sum()
    expected = levels / 255
    counted = torch.poisson(expected * photons, generator=source) / photons
    return (image + strength * (counted - expected)).clamp(0, 1)


def jpeg_round_trip(image: Tensor, quality: Sequence[int]) -> Tensor:
    """The images as they come back from libjpeg's files of these qualities (baseline, 4:2:0). No gradient.

    libjpeg runs on the CPU: images on another device are waited for.

    Args:
        image: (B,C,H,W), C 3 or 1 (gray), floating, clamped to [0,1].
        quality: B whole numbers in 1..100.

    Returns:
        (B,C,H,W) in [0,1], multiples of 1/255, of the dtype and on the device of ``image``.
    """
    decoded = []
    for levels, q in zip(to_levels(image).to("cpu", torch.uint8), quality, strict=True):
        file = BytesIO()
        pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=q, subsampling="4:2:0")
        decoded.append(torch.from_numpy(np.array(Image.open(file)).reshape(*pixels.shape[:2], -1)))
    return to_float(torch.stack(decoded).permute(0, 3, 1, 2).to(image.device), image.dtype)


@final
@dataclass(frozen=True)
class Bicubic:
    """LR = imresize(HR, 1/scale), MATLAB's bicubic in every bit, on every device.

    Args:
        seed: taken as the other degradations take it; nothing is drawn.
    """

    seed: int = 0

    margin: ClassVar[int] = 2  # the widened kernel reaches 2 LR pixels

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """uint8 (B,C,H,W) → uint8 (B,C,H/scale,W/scale); ``numbers`` (B,) are not looked at."""
        return imresize(hr, 1 / scale)


@final
@dataclass(frozen=True)
class BicubicNoise:
    """MATLAB's bicubic, then Gaussian noise, rounded to 8 bits.

    The parameters of a sample are the same on every device. The noise comes from the device's own
    generator: on CPU and CUDA it has the same distribution and other values.

    Args:
        sigma: lowest and highest standard deviation, in 8-bit levels; drawn uniformly.
        gray_prob: share of samples whose channels have the same noise.
        seed: of the draws.

    Raises:
        InputError: a setting is out of its range.
    """

    sigma: Range = (0.0, 25.0)
    gray_prob: float = 0.4
    seed: int = 0

    margin: ClassVar[int] = 2  # the bicubic's; noise has no neighbours

    def __post_init__(self) -> None:
        check_seed(self.seed)
        object.__setattr__(self, "sigma", check_range("sigma", self.sigma, 0))
        check_probability("gray_prob", self.gray_prob)

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """uint8 (B,C,H,W), sample numbers (B,) → uint8 (B,C,H/scale,W/scale)."""
        small = to_float(imresize(hr, 1 / scale))
        noisy = [self._one(image, n) for image, n in zip(small, numbers.tolist(), strict=True)]
        return to_levels(torch.stack(noisy)).to(torch.uint8)

    def _one(self, image: Tensor, number: int) -> Tensor:
        random = draws(self.seed, number)
        strength, coin = random.random(2).tolist()
        source = noise_source(random, image.device)
        return gaussian_noise(image, between(self.sigma, strength), gray=coin < self.gray_prob, source=source)


@final
@dataclass(frozen=True)
class BicubicJpeg:
    """MATLAB's bicubic, then a JPEG file and back (:func:`jpeg_round_trip`): equal bits on every device.

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
        small = to_float(imresize(hr, 1 / scale))
        return to_levels(jpeg_round_trip(small, qualities)).to(torch.uint8)
