"""One order of Real-ESRGAN's degradation: its settings, and what a sample draws from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from esrgan_lightning.data.degradations._common import (
    Range,
    around_one,
    between,
    check_around_one,
    check_probability,
    check_range,
    check_weights,
    pick,
    whole,
)
from esrgan_lightning.data.degradations.kernels import KINDS, Kernel, blur_kernel, pulse, sinc_kernel
from esrgan_lightning.errors import InputError

MODES = ("area", "bilinear", "bicubic")
# A sinc kernel below 13 pixels cannot hold the longer waves of a low cutoff.
_SMALL = 13
_LOWEST_CUTOFF = {True: math.pi / 3, False: math.pi / 5}


@final
@dataclass(frozen=True)
class Order:
    """Settings of blur → resize → noise → JPEG; the defaults are the published ones of the first order.

    The names are those of the authors' option files. Ranges are [lowest, highest], drawn uniformly.

    Args:
        blur_prob: share of samples that are blurred.
        kernel_size: side of the blur kernel in pixels, odd.
        sinc_prob: share of the kernels that are circular low-pass filters, with a cutoff in
            [π/3, π] radians per pixel (from 13 pixels on [π/5, π]).
        kernel_prob: weights of the other kinds of kernel, see :func:`blur_kernel`.
        blur_sigma: standard deviation in pixels, of each axis.
        betag_range: β of the generalised Gaussian; holds 1, half of the draws lie below.
        betap_range: β of the plateau-shaped kernel; likewise.
        resize_prob: weights of ``up``, ``down`` and ``keep``.
        resize_range: the smallest and largest factor; holds 1.
        gaussian_noise_prob: share of samples with Gaussian noise; the others have Poisson noise.
        noise_range: standard deviation of the Gaussian noise in 8-bit levels.
        poisson_scale_range: strength of the Poisson noise.
        gray_noise_prob: share of samples whose channels have the same noise.
        jpeg_range: quality, whole numbers on libjpeg's scale of 1..100.

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3 and its appendix; the authors' release.
    """

    blur_prob: float = 1.0
    kernel_size: Range = (7, 21)
    sinc_prob: float = 0.1
    kernel_prob: Mapping[str, float] = field(
        default_factory=lambda: dict(zip(KINDS, (0.45, 0.25, 0.12, 0.03, 0.12, 0.03), strict=True))
    )
    blur_sigma: Range = (0.2, 3.0)
    betag_range: Range = (0.5, 4.0)
    betap_range: Range = (1.0, 2.0)
    resize_prob: Mapping[str, float] = field(default_factory=lambda: {"up": 0.2, "down": 0.7, "keep": 0.1})
    resize_range: Range = (0.15, 1.5)
    gaussian_noise_prob: float = 0.5
    noise_range: Range = (1.0, 30.0)
    poisson_scale_range: Range = (0.05, 3.0)
    gray_noise_prob: float = 0.4
    jpeg_range: Range = (30, 95)

    def checked(self, name: str) -> "Order":
        """The same settings with plain types; an ``InputError`` names what is out of range as NAME.KEY."""
        for key in ("blur_prob", "sinc_prob", "gaussian_noise_prob", "gray_noise_prob"):
            check_probability(f"{name}.{key}", getattr(self, key))
        return Order(
            blur_prob=self.blur_prob,
            kernel_size=check_kernel_size(f"{name}.kernel_size", self.kernel_size),
            sinc_prob=self.sinc_prob,
            kernel_prob=check_weights(f"{name}.kernel_prob", self.kernel_prob, KINDS),
            blur_sigma=check_range(f"{name}.blur_sigma", self.blur_sigma, 0.01),
            betag_range=check_around_one(f"{name}.betag_range", self.betag_range, 0.01),
            betap_range=check_around_one(f"{name}.betap_range", self.betap_range, 0.01),
            resize_prob=check_weights(f"{name}.resize_prob", self.resize_prob, ("up", "down", "keep")),
            resize_range=check_around_one(f"{name}.resize_range", self.resize_range, 0.01),
            gaussian_noise_prob=self.gaussian_noise_prob,
            noise_range=check_range(f"{name}.noise_range", self.noise_range, 0),
            poisson_scale_range=check_range(f"{name}.poisson_scale_range", self.poisson_scale_range, 0),
            gray_noise_prob=self.gray_noise_prob,
            jpeg_range=check_range(f"{name}.jpeg_range", self.jpeg_range, 1, 100, whole=True),
        )

    def draw(self, random: np.random.Generator, modes: Sequence[str]) -> "Step":
        """What one sample does. It always takes the same number of draws: settings do not shift others."""
        blurred, filtered, *shape = random.random(8).tolist()
        direction, factor, mode, kind, strength, coin, quality = random.random(7).tolist()
        kernel = self._sinc(*shape[:2]) if filtered < self.sinc_prob else self._blur(*shape)
        ways = {"up": (1.0, self.resize_range[1]), "down": (self.resize_range[0], 1.0), "keep": (1.0, 1.0)}
        gaussian = kind < self.gaussian_noise_prob
        return Step(
            kernel=kernel if blurred < self.blur_prob else pulse(),
            factor=between(ways[pick(self.resize_prob, direction)], factor),
            mode=modes[int(mode * len(modes))],
            gaussian=gaussian,
            strength=between(self.noise_range if gaussian else self.poisson_scale_range, strength),
            gray=coin < self.gray_noise_prob,
            quality=whole(self.jpeg_range, quality),
        )

    def _blur(self, size: float, kind: float, across: float, down: float, turn: float, beta: float) -> Kernel:
        name = pick(self.kernel_prob, kind)
        bounds = self.betap_range if name.startswith("plateau") else self.betag_range
        return blur_kernel(
            name,
            odd(self.kernel_size, size),
            between(self.blur_sigma, across),
            between(self.blur_sigma, down),
            between((-math.pi, math.pi), turn),
            around_one(bounds, beta),
        )

    def _sinc(self, size: float, cutoff: float) -> Kernel:
        side = odd(self.kernel_size, size)
        return sinc_kernel(between((_LOWEST_CUTOFF[side < _SMALL], math.pi), cutoff), side)


@final
@dataclass(frozen=True)
class Step:
    """One sample's parameters of one order: of the blur, the resize, the noise and the JPEG file."""

    kernel: Kernel
    factor: float
    mode: str
    gaussian: bool
    strength: float
    gray: bool
    quality: int


def odd(bounds: Range, share: float) -> int:
    """An odd number from odd bounds, both included, at ``share`` of [0,1)."""
    return 2 * whole((bounds[0] // 2, bounds[1] // 2), share) + 1


def check_kernel_size(key: str, value: Range) -> Range:
    """A range of odd sides."""
    pair = check_range(key, value, 1, 99, whole=True)
    if not (pair[0] % 2 and pair[1] % 2):
        raise InputError(f"degradation.{key}={[int(v) for v in pair]} must be odd: a kernel has a centre")
    return pair
