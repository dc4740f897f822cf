"""``degradation=realesrgan``: the second-order model of photos from the wild."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import torch
from kornia.filters import filter2d
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from esrgan_lightning.data.degradations._common import (
    Range,
    around_one,
    between,
    check_around_one,
    check_probability,
    check_range,
    check_seed,
    check_weights,
    draws,
    noise_source,
    pick,
    to_levels,
    whole,
    workplace,
)
from esrgan_lightning.data.degradations.bicubic import gaussian_noise, jpeg_round_trip, poisson_noise
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.pixels import to_float

# The tails of a narrow Gaussian are subnormal numbers, which slow a CPU's convolution several times.
_NOTHING = 1e-20

Kernel = NDArray[np.float64]

KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
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
        return replace(
            self,
            kernel_size=check_kernel_size(f"{name}.kernel_size", self.kernel_size),
            kernel_prob=check_weights(f"{name}.kernel_prob", self.kernel_prob, KINDS),
            blur_sigma=check_range(f"{name}.blur_sigma", self.blur_sigma, 0.01),
            betag_range=check_around_one(f"{name}.betag_range", self.betag_range),
            betap_range=check_around_one(f"{name}.betap_range", self.betap_range),
            resize_prob=check_weights(f"{name}.resize_prob", self.resize_prob, ("up", "down", "keep")),
            resize_range=check_around_one(f"{name}.resize_range", self.resize_range),
            noise_range=check_range(f"{name}.noise_range", self.noise_range, 0),
            poisson_scale_range=check_range(f"{name}.poisson_scale_range", self.poisson_scale_range, 0),
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


def second_order() -> Order:
    """The published settings of the second order: weaker, and a fifth of the samples not blurred."""
    return Order(
        blur_prob=0.8,
        blur_sigma=(0.2, 1.5),
        resize_prob={"up": 0.3, "down": 0.4, "keep": 0.3},
        resize_range=(0.3, 1.2),
        noise_range=(1.0, 25.0),
        poisson_scale_range=(0.05, 2.5),
    )


@final
@dataclass(frozen=True)
class RealESRGAN:
    """LR = D₂(D₁(HR)), D = JPEG ∘ noise ∘ resize ∘ blur, with a sinc filter beside the last JPEG.

    D₁ resizes relative to the HR, D₂ relative to the LR; a last resize brings the exact LR size. It stands
    with the sinc filter either before or after the last JPEG. The result is rounded to 8 bits.

    Each sample has its own draws; the authors' release draws the resizes and the kinds of noise once a batch
    and mixes batches through a pool of 180 pairs, which is not needed here. The blurs run on the whole batch;
    resizes, noise and JPEG run by sample, as each has a size of its own.

    A sample's parameters are the same on every device. On the CPU its pixels are too, for any batch, process
    and number of threads; on CUDA the noise is other noise of the same distribution. JPEG runs on the CPU, so
    a GPU waits: with ``data.prepare=worker`` the loader's processes do all of it.

    Args:
        first: settings of D₁.
        second: settings of D₂; its JPEG is the last one.
        resize_modes: of ``area``, ``bilinear`` and ``bicubic``, none of them antialiased; drawn evenly.
        final_sinc_prob: share of samples with the last sinc filter, cutoff in [π/3, π] radians per pixel.
        final_sinc_size: side of its kernel in pixels, odd.
        jpeg_last_prob: share of samples whose JPEG comes after the last resize and sinc filter.
        margin: surroundings in LR pixels. 18 are the published ones (crops of 400 for patches of 256 at
            scale 4). The reach of the worst draws, over 100 pixels, would cost more than it gives.
        seed: of the draws.

    Raises:
        InputError: a setting is out of its range.

    Source:
        Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data",
        ICCVW 2021, section 3.
    """

    first: Order = field(default_factory=Order)
    second: Order = field(default_factory=second_order)
    resize_modes: Sequence[str] = MODES
    final_sinc_prob: float = 0.8
    final_sinc_size: Range = (7, 21)
    jpeg_last_prob: float = 0.5
    margin: int = 18
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        modes = tuple(self.resize_modes)
        if not modes or not set(modes) <= set(MODES):
            raise InputError(f"degradation.resize_modes={list(modes)} must be one or more of {list(MODES)}")
        if self.margin < 0:
            raise InputError(f"degradation.margin={self.margin} must be at least 0")
        for key in ("final_sinc_prob", "jpeg_last_prob"):
            check_probability(key, getattr(self, key))
        plain = {
            "first": self.first.checked("first"),
            "second": self.second.checked("second"),
            "resize_modes": modes,
            "final_sinc_size": check_kernel_size("final_sinc_size", self.final_sinc_size),
        }
        for key, value in plain.items():
            object.__setattr__(self, key, value)

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """uint8 (B,3,H,W), sample numbers (B,) → uint8 (B,3,H/scale,W/scale)."""
        size = (hr.shape[-2] // scale, hr.shape[-1] // scale)
        with torch.no_grad(), torch.autocast(hr.device.type, enabled=False):
            image = to_float(workplace(hr))
            plans = [self._plan(n, image.device) for n in numbers.tolist()]
            images = list(image[:, None])
            images = blurred(images, [plan.first.kernel for plan in plans], self.first.kernel_size)
            images = [_first_file(*pair) for pair in zip(images, plans, strict=True)]
            images = blurred(images, [plan.second.kernel for plan in plans], self.second.kernel_size)
            images = [_second_file(*pair, size) for pair in zip(images, plans, strict=True)]
            image = torch.cat(blurred(images, [plan.sinc for plan in plans], self.final_sinc_size))
            last = [i for i, plan in enumerate(plans) if plan.jpeg_last]
            if last:
                image[last] = jpeg_round_trip(image[last], [plans[i].second.quality for i in last])
            return to_levels(image).to(torch.uint8).to(hr.device)

    def _plan(self, number: int, device: torch.device) -> "Plan":
        random = draws(self.seed, number)
        filtered, side, cutoff, order, mode = random.random(5).tolist()
        sinc = sinc_kernel(between((math.pi / 3, math.pi), cutoff), odd(self.final_sinc_size, side))
        return Plan(
            first=self.first.draw(random, self.resize_modes),
            second=self.second.draw(random, self.resize_modes),
            sinc=sinc if filtered < self.final_sinc_prob else pulse(),
            jpeg_last=order < self.jpeg_last_prob,
            mode=self.resize_modes[int(mode * len(self.resize_modes))],
            noise=noise_source(random, device),
        )


@final
@dataclass(frozen=True)
class Plan:
    """One sample's parameters, and the source of its noise."""

    first: Step
    second: Step
    sinc: Kernel
    jpeg_last: bool
    mode: str
    noise: torch.Generator


def blurred(images: Sequence[Tensor], kernels: Sequence[Kernel], sizes: Range) -> list[Tensor]:
    """Each image (1,3,H,W), of a size of its own, with its own kernel, in one call.

    Beyond its border an image goes on with its outermost pixels. The authors mirror it there, which fails
    when a resized image is smaller than the kernel's reach. Kernels are padded to the largest side that the
    settings allow, not to the batch's: another size might be computed in another way, with other last bits.
    """
    side = int(sizes[1])
    reach = side // 2
    height, width = (max(image.shape[axis] for image in images) for axis in (2, 3))
    canvas = images[0].new_zeros(len(images), images[0].shape[1], height + 2 * reach, width + 2 * reach)
    for place, image in zip(canvas, images, strict=True):
        h, w = image.shape[-2:]
        place[:, : h + 2 * reach, : w + 2 * reach] = F.pad(image, (reach,) * 4, mode="replicate")[0]
    stack = np.stack([padded(kernel, side) for kernel in kernels])
    stack[np.abs(stack) < _NOTHING] = 0
    weights = torch.from_numpy(stack).to(canvas)
    result = filter2d(canvas, weights, padding="valid")
    return [out[None, :, : x.shape[2], : x.shape[3]] for out, x in zip(result, images, strict=True)]


def resize(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(1,3,H,W) → (1,3,*size) by ``area``, ``bilinear`` or ``bicubic`` (a = −0.75), none antialiased."""
    if mode != "bilinear":
        return F.interpolate(image, size=size, mode=mode)
    # With one thread torch's bilinear computes in another way, with other last bits. Its linear does not.
    wide = F.interpolate(image[0], size=size[1], mode="linear")
    return F.interpolate(wide.mT, size=size[0], mode="linear").mT[None]


def _first_file(image: Tensor, plan: Plan) -> Tensor:
    """Resize relative to the HR, noise, JPEG: (1,3,H,W) → (1,3,H₁,W₁)."""
    image = _resized_noisy(image, image.shape[-2:], plan.first, plan.noise)
    return jpeg_round_trip(image, [plan.first.quality])


def _second_file(image: Tensor, plan: Plan, size: tuple[int, int]) -> Tensor:
    """Resize relative to the LR, noise, JPEG where it is not the last, the LR's size: → (1,3,*size)."""
    image = _resized_noisy(image, size, plan.second, plan.noise)
    if not plan.jpeg_last:
        image = jpeg_round_trip(image, [plan.second.quality])
    return resize(image, size, plan.mode)


def _resized_noisy(image: Tensor, base: Sequence[int], step: Step, source: torch.Generator) -> Tensor:
    """(1,3,H,W) to ``base`` times the step's factor, rounded down to whole pixels; then the step's noise."""
    height, width = (max(1, int(side * step.factor)) for side in base)
    add = gaussian_noise if step.gaussian else poisson_noise
    resized = resize(image, (height, width), step.mode)
    return add(resized[0], step.strength, gray=step.gray, source=source)[None]


def blur_kernel(
    kind: str, size: int, sigma_x: float, sigma_y: float = 0.0, angle: float = 0.0, beta: float = 1.0
) -> Kernel:
    """k(x) ∝ f(xᵀ Σ⁻¹ x), Σ = R diag(σx², σy²) Rᵀ, R the turn by ``angle``; the sum is 1.

    f(q) = exp(−q/2) for ``iso`` and ``aniso``, exp(−q^β/2) for ``generalized_…`` and 1/(1 + q^β) for
    ``plateau_…``. β = 1 makes the generalised one Gaussian; below 1 the peak is sharp and the tails are
    heavy, above 1 the top is flat.

    Args:
        kind: one of ``KINDS``; an ``iso`` kind takes σx for both axes and no angle.
        size: side in pixels, odd.
        sigma_x: along the turned x axis (columns), in pixels.
        sigma_y: along the turned y axis (rows).
        angle: in radians, from the x axis towards the y axis.
        beta: the exponent.

    Returns:
        (size, size).

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.1 and appendix; Liu et al. 2020 for the
        generalised and plateau-shaped densities.
    """
    if "aniso" not in kind:
        sigma_y, angle = sigma_x, 0.0
    y, x = _grid(size)
    along = (math.cos(angle) * x + math.sin(angle) * y) / sigma_x
    across = (math.cos(angle) * y - math.sin(angle) * x) / sigma_y
    q = along**2 + across**2
    if kind.startswith("plateau"):
        kernel = 1 / (1 + q**beta)
    else:
        kernel = np.exp(-0.5 * (q**beta if kind.startswith("generalized") else q))
    return np.asarray(kernel / kernel.sum(), np.float64)


def sinc_kernel(cutoff: float, size: int) -> Kernel:
    """k(x) ∝ ωc / (2π r) · J1(ωc r), r = |x|: the ideal low-pass filter of a disc, cut off; the sum is 1.

    It rings at edges, as over-sharpened pictures do.

    Args:
        cutoff: ωc in radians per pixel, (0, π].
        size: side in pixels, odd.

    Returns:
        (size, size).

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.4, eq. (6).
    """
    r = np.hypot(*_grid(size))
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * r)).numpy()
    with np.errstate(invalid="ignore"):
        kernel = cutoff * bessel / (2 * math.pi * r)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)  # the limit at r → 0
    return np.asarray(kernel / kernel.sum(), np.float64)


def pulse() -> Kernel:
    """(1,1): leaves the image as it is."""
    return np.ones((1, 1))


def padded(kernel: Kernel, size: int) -> Kernel:
    """The kernel amid zeros, (size, size): kernels of one batch have one size."""
    return np.pad(kernel, (size - len(kernel)) // 2)


def _grid(size: int) -> NDArray[np.float64]:
    """Rows and columns counted from the centre, (2, size, size)."""
    return np.mgrid[:size, :size] - float(size // 2)
