"""The dense block as one step of autograd on a GPU, by kernels of its own."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from esrgan_lightning.networks.dense.convolve import convolve, pack, sum_parts, weight_gradients
from esrgan_lightning.networks.dense.memory_saving import refuse_second_derivative

# Sizes of the tiles by measurement on an H200 (32×32 pixels, batch 16); the results do not depend on them.
PIXELS = 128  # of a convolution's program
NARROW = {"BK": 32, "num_warps": 4, "num_stages": 4}
WIDE = {"BK": 64, "num_warps": 8, "num_stages": 4}  # the last convolution, of twice the channels
WEIGHTS = {"BP": 32, "num_warps": 8, "num_stages": 4}
SHARES = 14  # 9 programs each: together one for each of 132 multiprocessors
BLOCK = 512


class DenseBlockKernels(torch.autograd.Function):
    """Takes and gives what ``MemorySavingBlock`` does, for x in half precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float, computes: torch.dtype, *parameters: Tensor) -> Tensor:
        """The five convolutions."""
        weights, biases = parameters[::2], parameters[1::2]
        growth, features = weights[0].shape[:2]
        x = x.contiguous(memory_format=torch.channels_last)
        batch, _, height, width = x.shape
        maps = x.new_empty(batch, height, width, features + 4 * growth)
        out = torch.empty_like(x)
        # Triton launches on the current device.
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            packed, turned = _packed(weights, x.dtype, beta)
            _convolve(x, maps, packed, biases, None, out, None, beta)
        ctx.beta = beta
        ctx.save_for_backward(maps, turned, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and the parameters, in forward's order."""
        refuse_second_derivative()
        maps, turned, *weights = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        behind, into = torch.empty_like(maps), torch.empty_like(grad)
        programs = triton.cdiv(maps.shape[:3].numel(), PIXELS - 2)
        sums = maps.new_empty(programs, maps.shape[3], dtype=torch.float32)
        gradients: Sequence[Tensor | None] = [None] * 10
        with torch.cuda.device_of(grad):  # type: ignore[no-untyped-call]
            _convolve(grad, behind, turned, None, maps, into, sums, ctx.beta)
            if any(ctx.needs_input_grad[3:]):
                gradients = _parameter_gradients(behind, maps, sums, weights, ctx.beta)
        return (into, None, None, *gradients)


def _packed(weights: Sequence[Tensor], dtype: torch.dtype, beta: float) -> tuple[Tensor, Tensor]:
    """All weights, one after another, as the convolutions read them: forward and backward."""
    growth, features = weights[0].shape[:2]
    last = all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    if not last:
        weights = [weight.contiguous() for weight in weights]
    count = sum(weight.numel() for weight in weights)
    packed, turned = (weights[0].new_empty(count, dtype=dtype) for _ in range(2))
    grid = (triton.cdiv(weights[4].numel(), BLOCK), 5, 2)
    pack[grid](*weights, packed, turned, beta, NF=features, GC=growth, LAST=last, BLOCK=BLOCK)
    return packed, turned


def _convolve(
    given: Tensor,
    buffer: Tensor,
    packed: Tensor,
    biases: Sequence[Tensor] | None,
    maps: Tensor | None,
    out: Tensor,
    sums: Tensor | None,
    beta: float,
) -> None:
    """The five convolutions of either direction; ``given`` is x or ∂L/∂out, ``out`` what comes of it."""
    batch, height, width, channels = buffer.shape
    pixels, features = batch * height * width, given.shape[1]
    growth, begin = (channels - features) // 4, 0
    for stage in range(5):
        reads, writes = features + stage * growth, features if stage == 4 else growth
        source, row = (given, features) if stage == 0 else (buffer, channels)
        bias = biases[stage] if biases is not None else None
        convolve[(triton.cdiv(pixels, PIXELS - 2),)](
            source, row, buffer, packed[begin:], bias, maps, out, sums, beta, pixels, height, width,
            C=reads, N=writes, NF=features, GC=growth, BACK=maps is not None, BM=PIXELS,
            **(WIDE if stage == 4 else NARROW),
        )  # fmt: skip
        begin += 9 * reads * writes


def _parameter_gradients(
    behind: Tensor, maps: Tensor, sums: Tensor, weights: Sequence[Tensor], beta: float
) -> list[Tensor | None]:
    """Of weight and bias of each convolution, by turns, in the weights' type."""
    batch, height, width, channels = maps.shape
    growth, features = weights[0].shape[:2]
    pixels = batch * height * width
    share = triton.cdiv(triton.cdiv(pixels, SHARES), WEIGHTS["BP"]) * WEIGHTS["BP"]
    parts = sums.new_empty(triton.cdiv(pixels, share), 9, channels, channels)
    weight_gradients[(9, len(parts))](behind, maps, parts, pixels, height, width, share, GC=growth, **WEIGHTS)
    of_weights = sums.new_empty(sum(weight.numel() for weight in weights))
    of_biases = sums.new_empty(channels)
    sum_parts[(triton.cdiv(weights[4].numel(), BLOCK), 5)](
        parts, sums, of_weights, of_biases, beta, len(sums),
        PARTS=len(parts), NF=features, GC=growth, BLOCK=BLOCK,
    )  # fmt: skip
    found: list[Tensor | None] = []
    begin = end = 0
    for weight in weights:
        outputs, inputs = weight.shape[:2]
        own = of_weights[begin : begin + weight.numel()].view(outputs, 3, 3, inputs).permute(0, 3, 1, 2)
        found += [own.to(weight.dtype), of_biases[end : end + outputs].to(weight.dtype)]
        begin, end = begin + weight.numel(), end + outputs
    return found
