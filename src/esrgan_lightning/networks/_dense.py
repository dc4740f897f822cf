"""The dense block's five convolutions as one step of autograd, which keeps five feature maps and no more."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.2


def saves_memory() -> bool:
    """Whether a graph is recorded, and by no compiler: that one chooses for itself what to keep."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def dense_block(
    x: Tensor, beta: float, parameters: Sequence[Tensor | None], *, gpu_kernels: bool = True
) -> Tensor:
    """What :class:`~esrgan_lightning.networks.blocks.DenseBlock` computes.

    The plain form keeps the input of each convolution for backward, that is each feature map up to five
    times: num_features·5 + growth_channels·14 channels with their activations. Here the maps x, x1 … x4 are
    kept once, num_features + growth_channels·4 channels, and put together again in backward: the saving of
    memory-efficient DenseNets (Pleiss et al. 2017, §3), without their second run of the activations.

    Args:
        x: (B,num_features,h,w).
        beta: β.
        parameters: weight and bias of conv1 … conv5, by turns.
        gpu_kernels: compute with ``_dense_triton.py`` where that can be: in half precision on a Hopper GPU.

    Returns:
        Of x's shape. Under autocast the convolutions compute in its type, as the plain form does.

    Raises:
        RuntimeError: Its gradient is asked for a graph of its own (``create_graph=True``).
    """
    kind, computes = x.device.type, x.dtype
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        computes = torch.get_autocast_dtype(kind)
    fits = gpu_kernels and kind == "cuda" and x.dtype == computes and _kernels_fit(x, parameters[0])
    block = _kernels() if fits else _DenseBlock
    out: Tensor = block.apply(x, beta, computes, *parameters)
    return out


def _kernels() -> Any:
    from esrgan_lightning.networks._dense_triton import DenseBlockKernels  # Triton is there on GPUs alone

    return DenseBlockKernels


def _kernels_fit(x: Tensor, weight: Tensor | None) -> bool:
    assert weight is not None
    growth, features = weight.shape[:2]
    return (
        x.dtype in (torch.bfloat16, torch.float16)
        and features == 2 * growth
        and growth in (16, 32)
        and x.numel() * 3 < 2**31  # the kernels count a buffer's elements in 32 bits
        and find_spec("triton") is not None
        # Hopper: on other cards the tiles have not been tried. AMD's call themselves (9, …), too.
        and torch.version.hip is None
        and torch.cuda.get_device_capability(x.device) == (9, 0)
    )


def refuse_second_derivative() -> None:
    """Raises RuntimeError in a backward pass that records a graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "create_graph=True reaches a dense block that saves memory, and whose gradient has no graph: "
            "build the generator with memory_efficient=False"
        )


class _DenseBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float, computes: torch.dtype, *parameters: Tensor) -> Tensor:
        maps = [x.to(computes)]
        for k in range(5):
            weight, bias = (each.to(computes) for each in parameters[2 * k : 2 * k + 2])
            y = F.conv2d(torch.cat(maps, 1), weight, bias, padding=1)
            if k < 4:
                maps.append(F.leaky_relu_(y, SLOPE))
        ctx.beta = beta
        # The parameters in their own type: half-precision copies would stay in memory until backward.
        ctx.save_for_backward(*maps, *parameters)
        return x + y.mul_(beta)  # not add(alpha=β): on a CPU that rounds β itself to half precision

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        saved = ctx.saved_tensors  # once: checkpointing computes them anew at the first look
        maps, parameters = saved[:5], saved[5:]
        learns = ctx.needs_input_grad[3:]
        gradients: list[Tensor | None] = [None] * 10
        behind = (grad * ctx.beta).to(maps[0].dtype)  # ∂L/∂(what convolution k + 1 put out)
        total: Tensor | None = None  # ∂L/∂[x, x1, …, xk], from convolution k + 1 and all behind it
        for k in range(4, -1, -1):
            weight = parameters[2 * k]
            before, *own = _convolution_backward(
                behind, torch.cat(maps[: k + 1], 1), weight, learns[2 * k : 2 * k + 2]
            )
            gradients[2 * k : 2 * k + 2] = own
            total = before if total is None else total[:, : before.shape[1]].add_(before)
            if k > 0:  # a map has its argument's sign, which is all that the slope depends on
                last = total[:, -maps[k].shape[1] :]
                behind = torch.ops.aten.leaky_relu_backward(last, maps[k], SLOPE, True)
        assert total is not None
        return (grad + total, None, None, *gradients)


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, learns: Sequence[bool]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of a 3×3 convolution's input, weight and bias, the last two in the weight's own type."""
    into, *own = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight.to(x.dtype),
        [weight.shape[0]],
        [1, 1],
        [1, 1],
        [1, 1],
        False,
        [0, 0],
        1,
        [True, *learns],
    )
    of_weight, of_bias = (None if each is None else each.to(weight.dtype) for each in own)
    return into, of_weight, of_bias
