"""``degradation=realesrgan``: the second-order model of photos from the wild."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from kornia.filters import filter2d
from torch import Tensor
from torch.nn import functional as F

from esrgan_lightning.data.degradations._common import (
    Range,
    between,
    check_probability,
    check_seed,
    draws,
    noise_source,
    to_levels,
    workplace,
)
from esrgan_lightning.data.degradations.jpeg import jpeg_round_trip
from esrgan_lightning.data.degradations.kernels import Kernel, padded, pulse, sinc_kernel
from esrgan_lightning.data.degradations.noise import gaussian_noise, poisson_noise
from esrgan_lightning.data.degradations.order import MODES, Order, Step, check_kernel_size, odd
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.pixels import to_float

# The tails of a narrow Gaussian are subnormal numbers, which slow a CPU's convolution several times.
_NOTHING = 1e-20


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
    and number of threads; on CUDA the noise is other noise of the same distribution.

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
            images = [_after_first_blur(*pair) for pair in zip(images, plans, strict=True)]
            images = blurred(images, [plan.second.kernel for plan in plans], self.second.kernel_size)
            images = [_after_second_blur(*pair, size) for pair in zip(images, plans, strict=True)]
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
    when a resized image is smaller than the kernel's reach.

    Args:
        images: to blur.
        kernels: square, of odd sides.
        sizes: the smallest and largest side that the settings allow. Kernels are padded to the largest, not
            to the largest of the batch: another size might be computed in another way, with other last bits.
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


def _after_first_blur(image: Tensor, plan: Plan) -> Tensor:
    """Resize relative to the HR, noise, JPEG: (1,3,H,W) → (1,3,H₁,W₁)."""
    height, width = image.shape[-2:]
    image = _noisy(_resized(image, (height, width), plan.first), plan.first, plan.noise)
    return jpeg_round_trip(image, [plan.first.quality])


def _after_second_blur(image: Tensor, plan: Plan, size: tuple[int, int]) -> Tensor:
    """Resize relative to the LR, noise, JPEG where it is not the last, the LR's size: → (1,3,*size)."""
    image = _noisy(_resized(image, size, plan.second), plan.second, plan.noise)
    if not plan.jpeg_last:
        image = jpeg_round_trip(image, [plan.second.quality])
    return resize(image, size, plan.mode)


def _resized(image: Tensor, base: tuple[int, int], step: Step) -> Tensor:
    """(1,3,H,W) to ``base`` times the step's factor, rounded down to whole pixels."""
    height, width = (max(1, int(side * step.factor)) for side in base)
    return resize(image, (height, width), step.mode)


def _noisy(image: Tensor, step: Step, source: torch.Generator) -> Tensor:
    """(1,3,H,W) with the step's noise."""
    add = gaussian_noise if step.gaussian else poisson_noise
    return add(image[0], step.strength, gray=step.gray, source=source)[None]
