"""The dense block's five convolutions as one step of autograd, which keeps five feature maps and no more."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.2


def refuse_second_derivative() -> None:
    """Raises RuntimeError in a backward pass that records a graph: a block's gradient has none."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "create_graph=True reaches a dense block that saves memory, and whose gradient has no graph: "
            "build the generator with memory_efficient=False"
        )


class MemorySavingBlock(torch.autograd.Function):
    """x, β, the type to compute in, weight and bias of conv1 … conv5 by turns → the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float, computes: torch.dtype, *parameters: Tensor) -> Tensor:
        """The five convolutions."""
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
        """Gradients of x and the parameters, in forward's order."""
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
    one = [1, 1]  # stride, padding and dilation
    into, *own = torch.ops.aten.convolution_backward(
        grad, x, weight.to(x.dtype), [weight.shape[0]], one, one, one, False, [0, 0], 1, [True, *learns]
    )
    of_weight, of_bias = (None if each is None else each.to(weight.dtype) for each in own)
    return into, of_weight, of_bias
