"""Sensor noise, and ``degradation=bicubic_noise``."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from kornia.color import rgb_to_grayscale
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
