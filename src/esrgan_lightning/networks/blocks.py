"""The parts that the networks are built of."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, final, get_args, get_origin

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.dense import SLOPE, dense_block, saves_memory

# scale → the steps in which it is enlarged
STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
# Arguments that say how a network begins and trains, not what it is.
_TRAINING = ("bilinear_init", "memory_efficient", "checkpointing")


def checked_spec(network: type[nn.Module], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a network of ``locals()`` is built from, as a file carries it, each checked by its annotation.

    Raises:
        InputError: A count below 1, a number that is negative or not finite, a choice that is not there.
    """
    parameters = inspect.signature(network).parameters
    for name, parameter in parameters.items():
        kind, value = parameter.annotation, given[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name == "scale":
            fits, expected = whole and value in STEPS, f"one of {', '.join(map(str, STEPS))}"
        elif kind is int:
            fits, expected = whole and value >= 1, "a whole number of at least 1"
        elif kind is float:
            fits = (whole or isinstance(value, float)) and 0 <= value < math.inf
            expected = "a number of at least 0"
        elif kind is bool:
            fits, expected = isinstance(value, bool), "true or false"
        elif get_origin(kind) is Literal:
            fits, expected = value in get_args(kind), " or ".join(get_args(kind))
        else:
            continue
        if not fits:
            raise InputError(f"{network.__name__}: {name}={value!r} must be {expected}")
    arguments = {name: given[name] for name in parameters if name not in _TRAINING}
    return {"architecture": network.__name__, "arguments": arguments}


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size: (B,in,h,w) → (B,out,h,w)."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def pixel_shuffles(num_features: int, scale: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Enlargement in the scale's steps, activation(shuffle(conv(f))) each: (B,nf,h,w) → (B,nf,s·h,s·w)."""
    layers: list[nn.Module] = []
    for factor in STEPS[scale]:
        layers += [conv3x3(num_features, num_features * factor**2), nn.PixelShuffle(factor), activation()]
    return nn.Sequential(*layers)


@torch.no_grad()
def scaled_msra_init(module: nn.Module, scale: float) -> None:
    """Initialises every convolution inside ``module``: w ~ scale · N(0, 2/fan_in), b = 0.

    MSRA initialisation (He et al. 2015, eq. 10) in fan-in mode, made smaller by ``scale``: "smaller
    initialization" of ESRGAN's supplement; its value 0.1 is the authors'.
    """
    for part in module.modules():
        # On "meta" there is nothing to fill, and the first normal_ there loads seconds' worth of modules.
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:
            nn.init.kaiming_normal_(part.weight, a=0, mode="fan_in")
            part.weight.mul_(scale)
            if part.bias is not None:
                part.bias.zero_()


def check_colors(network: str, in_channels: int, out_channels: int, num_features: int) -> None:
    """Raises InputError where ``bilinear_init`` cannot pass the input's channels through the features."""
    if in_channels != out_channels or num_features < out_channels:
        raise InputError(
            f"{network}: bilinear_init=True needs as many out_channels as in_channels, and no fewer "
            f"num_features: not in_channels={in_channels}, out_channels={out_channels}, "
            f"num_features={num_features}"
        )


@torch.no_grad()
def pass_colors(conv: nn.Conv2d, colors: int, kernels: Tensor, *, alone: bool = True) -> None:
    """Makes the first outputs of a convolution copies of its first inputs: a part of ``bilinear_init``.

    Args:
        conv: N·colors or more outputs; what else it computes stays as it is.
        colors: Inputs to pass on.
        kernels: (N,I,k,k): what each of a color's N consecutive outputs takes of its I consecutive inputs, in
            the middle of the convolution's kernel; N and I are 1 but for a pixel shuffle or unshuffle.
        alone: Take nothing of the other inputs.
    """
    if conv.weight.is_meta:
        return
    outputs, inputs, side, _ = kernels.shape
    margin = (conv.kernel_size[0] - side) // 2
    conv.weight[: colors * outputs, : None if alone else colors * inputs] = 0
    if conv.bias is not None:
        conv.bias[: colors * outputs] = 0
    middle = conv.weight[:, :, margin : margin + side, margin : margin + side]
    for color in range(colors):
        rows, columns = (slice(color * n, (color + 1) * n) for n in (outputs, inputs))
        middle[rows, columns] = kernels.to(middle)


@final
class DenseBlock(nn.Module):
    """Five densely connected 3×3 convolutions: x + β · conv5([x, x1, x2, x3, x4]) (ESRGAN §3.1, fig. 4).

    xk = LeakyReLU₀.₂(convk([x, x1, …, x(k−1)])) has ``growth_channels`` channels. No batch norm.

    Args:
        num_features: Channels of x and of the result.
        growth_channels: Channels that each of the first four convolutions adds.
        residual_scaling: β.
        memory_efficient: Keep each feature map once for backward and concatenate again there, instead of
            keeping every concatenation: a quarter of the memory, the same values. The convolutions' own
            forward hooks are then not called, and its gradient has no graph (no ``create_graph=True``).
    """

    def __init__(
        self,
        num_features: int = 64,
        growth_channels: int = 32,
        residual_scaling: float = 0.2,
        *,
        memory_efficient: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_features, growth_channels)
        self.conv2 = conv3x3(num_features + growth_channels, growth_channels)
        self.conv3 = conv3x3(num_features + 2 * growth_channels, growth_channels)
        self.conv4 = conv3x3(num_features + 3 * growth_channels, growth_channels)
        self.conv5 = conv3x3(num_features + 4 * growth_channels, num_features)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.residual_scaling, self.memory_efficient = residual_scaling, memory_efficient
        self.gpu_kernels = True  # run/speed.py switches them off

    def forward(self, x: Tensor) -> Tensor:
        """(B,num_features,h,w) → the same."""
        if self.memory_efficient and saves_memory():
            convs = (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)
            parameters = [each for conv in convs for each in (conv.weight, conv.bias)]
            return dense_block(x, self.residual_scaling, parameters, gpu_kernels=self.gpu_kernels)
        x1 = self.act(self.conv1(x))
        x2 = self.act(self.conv2(torch.cat((x, x1), 1)))
        x3 = self.act(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.act(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        residual: Tensor = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x + self.residual_scaling * residual


@final
class RRDB(nn.Module):
    """Residual in residual dense block: x + β · rdb3(rdb2(rdb1(x))) (ESRGAN §3.1, fig. 4).

    β is that of each dense block, too. ``checkpointing`` keeps nothing but x for backward and computes the
    block a second time there.
    """

    def __init__(
        self,
        num_features: int = 64,
        growth_channels: int = 32,
        residual_scaling: float = 0.2,
        *,
        memory_efficient: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        sizes = (num_features, growth_channels, residual_scaling)
        self.rdb1 = DenseBlock(*sizes, memory_efficient=memory_efficient)
        self.rdb2 = DenseBlock(*sizes, memory_efficient=memory_efficient)
        self.rdb3 = DenseBlock(*sizes, memory_efficient=memory_efficient)
        self.residual_scaling, self.checkpointing = residual_scaling, checkpointing

    def forward(self, x: Tensor) -> Tensor:
        """(B,num_features,h,w) → the same."""
        if self.checkpointing and torch.is_grad_enabled():
            # Nothing in a block is random: the generators' states need not be kept.
            residual: Tensor = checkpoint(self._dense, x, use_reentrant=False, preserve_rng_state=False)
        else:
            residual = self._dense(x)
        return x + self.residual_scaling * residual

    def _dense(self, x: Tensor) -> Tensor:
        residual: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return residual


@final
class ResidualBlock(nn.Module):
    """SRGAN's residual block, x + [BN](conv2(PReLU([BN](conv1(x))))) (Ledig et al. 2017, fig. 4).

    ESRGAN §3.1 recommends it without batch norm.
    """

    def __init__(self, num_features: int = 64, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_features, num_features)
        self.norm1 = nn.BatchNorm2d(num_features) if batch_norm else nn.Identity()
        self.act = nn.PReLU()
        self.conv2 = conv3x3(num_features, num_features)
        self.norm2 = nn.BatchNorm2d(num_features) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B,num_features,h,w) → the same."""
        residual: Tensor = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return x + residual
