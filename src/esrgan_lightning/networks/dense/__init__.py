"""The dense block as one step of autograd: which way it is computed."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from esrgan_lightning.networks.dense.memory_saving import SLOPE, MemorySavingBlock

__all__ = ["SLOPE", "dense_block", "saves_memory"]


def saves_memory() -> bool:
    """Whether a graph is recorded, and by no compiler: that one chooses for itself what to keep."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def dense_block(
    x: Tensor, beta: float, parameters: Sequence[Tensor | None], *, gpu_kernels: bool = True
) -> Tensor:
    """What :class:`~esrgan_lightning.networks.blocks.DenseBlock` computes.

    The plain form keeps num_features·5 + growth_channels·14 channels for backward. Here the maps x, x1 … x4
    are kept once, num_features + growth_channels·4 channels (as Pleiss et al. 2017, §3).

    Args:
        x: (B,num_features,h,w).
        beta: β.
        parameters: weight and bias of conv1 … conv5, by turns.
        gpu_kernels: compute with ``kernels.py`` where that can be: in half precision on a Hopper GPU.

    Returns:
        Of x's shape. Under autocast the convolutions compute in its type, as the plain form does.

    Raises:
        RuntimeError: Its gradient is asked for a graph of its own (``create_graph=True``).
    """
    kind, computes = x.device.type, x.dtype
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        computes = torch.get_autocast_dtype(kind)
    fits = gpu_kernels and kind == "cuda" and x.dtype == computes and _kernels_fit(x, parameters[0])
    block: Any = MemorySavingBlock
    if fits:
        from esrgan_lightning.networks.dense.kernels import DenseBlockKernels  # Triton is there on GPUs alone

        block = DenseBlockKernels
    out: Tensor = block.apply(x, beta, computes, *parameters)
    return out


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
