"""Networks taken apart into steps over rows, and what these cost."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.rows.steps import Convolution, Dense, Fork, Join, RowWise, Step
from esrgan_lightning.networks import RRDBNet, SRResNet
from esrgan_lightning.networks.blocks import RRDB, DenseBlock, ResidualBlock

_KNOWN = (
    *(RRDBNet, RRDB, DenseBlock, nn.LeakyReLU),
    *(SRResNet, ResidualBlock, nn.PReLU, nn.BatchNorm2d, nn.Identity, nn.PixelShuffle),
    *(nn.Sequential, nn.Conv2d),
)


class Costs(NamedTuple):
    """What streaming a network takes."""

    radius: int  # LR pixels to each side that a pixel of the result depends on
    column: int  # values that are kept per LR column
    pixel: int  # most values per LR pixel of the block of rows that is worked on


def costs_of(generator: nn.Module) -> Costs:
    """What its streaming takes.

    Raises:
        InputError: As :func:`steps_of`.
    """
    scale, radius, column, pixel = 1.0, 0.0, 0.0, 0.0
    for step in steps_of(generator, mirrors=False):
        radius += step.lag / scale
        column += step.kept * scale
        pixel = max(pixel, step.works * scale**2)
        scale *= step.factor
    return Costs(math.ceil(radius), math.ceil(column), math.ceil(pixel))


def steps_of(generator: nn.Module, *, mirrors: bool) -> list[Step]:
    """A network's layers as steps, for one image.

    Args:
        generator: An RRDBNet or SRResNet in eval mode.
        mirrors: How an image is filled up that the network's fold does not divide: mirrored, else repeated.

    Raises:
        InputError: Another network, or one with layers of another kind.
    """
    if (unsupported := unsupported_layer(generator)) is not None:
        raise InputError(
            f"tile=exact streams RRDBNet and SRResNet as they are, and not {unsupported}: "
            "give tile= a number of LR pixels, and overlap="
        )
    return (
        _rrdb(generator, mirrors) if isinstance(generator, RRDBNet) else _srresnet(cast(SRResNet, generator))
    )


def _rrdb(net: RRDBNet, mirrors: bool) -> list[Step]:
    first = Convolution(net.conv_first)
    features = first.conv.out_channels
    body: list[Step] = []
    for block in cast(Sequence[RRDB], net.body):
        inner: list[Step] = [Dense(each) for each in (block.rdb1, block.rdb2, block.rdb3)]
        body += _residual(inner, features, beta=block.residual_scaling)
    body.append(Convolution(net.conv_body))
    steps: list[Step] = [first, *_residual(body, features)]
    if net.fold > 1:
        fold = functools.partial(_folded, fold=net.fold, mode="reflect" if mirrors else "replicate")
        steps.insert(0, RowWise(fold, factor=1 / net.fold))
    for number, factor in enumerate(net.steps, start=1):
        enlarge = functools.partial(F.interpolate, scale_factor=factor, mode="nearest")
        steps.append(RowWise(enlarge, factor=factor, values=features * (1 + factor**2)))
        steps += [Convolution(cast(nn.Conv2d, net.get_submodule(f"conv_up{number}"))), RowWise(net.act)]
    return [*steps, Convolution(net.conv_hr), RowWise(net.act), Convolution(net.conv_last)]


def _srresnet(net: SRResNet) -> list[Step]:
    first, features = _layers(net.first), net.last.in_channels
    body: list[Step] = []
    for module in net.body:
        if isinstance(module, ResidualBlock):
            layers = (module.conv1, module.norm1, module.act, module.conv2, module.norm2)
            body += _residual(_layers(layers), features)
        else:
            body += _layers([module])
    return [*first, *_residual(body, features), *_layers(net.upsampling), Convolution(net.last)]


def _layers(modules: Sequence[nn.Module] | nn.Sequential) -> list[Step]:
    """Convolutions, and what works on each pixel alone."""
    steps: list[Step] = []
    for module in modules:
        if isinstance(module, nn.PixelShuffle):
            steps.append(RowWise(module, factor=module.upscale_factor))
        else:
            steps.append(Convolution(module) if isinstance(module, nn.Conv2d) else RowWise(module))
    return steps


def unsupported_layer(generator: nn.Module) -> str | None:
    """What stands in the way of streaming: the network itself or one of its layers; None for nothing."""
    if not isinstance(generator, RRDBNet | SRResNet):
        return type(generator).__name__
    for name, module in generator.named_modules():
        zeros = not isinstance(module, nn.Conv2d) or (
            module.padding == tuple(size // 2 for size in module.kernel_size)
            and (module.stride, module.dilation, module.padding_mode) == ((1, 1), (1, 1), "zeros")
        )
        if type(module) not in _KNOWN or not zeros:
            return f"{name} as {module}"
    return None


def _residual(steps: list[Step], channels: int, *, beta: float = 1.0) -> list[Step]:
    """The steps with a connection around them: x + β · steps(x)."""
    fork = Fork()
    return [fork, *steps, Join(fork, steps, channels, beta=beta)]


def _folded(rows: Tensor, *, fold: int, mode: str) -> Tensor:
    """Pixel-unshuffle; only the last rows of an image, and its right, are no multiple of the fold."""
    bottom, right = (-length % fold for length in rows.shape[-2:])
    return F.pixel_unshuffle(F.pad(rows, (0, right, 0, bottom), mode=mode), fold)
