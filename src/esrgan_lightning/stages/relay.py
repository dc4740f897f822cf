"""The discriminator judges a picture, and does not learn from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from esrgan_lightning.losses.adversarial import AdversarialLoss


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within the block no gradient reaches the module's parameters; through the module it still flows."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def judge(adversarial: AdversarialLoss, discriminator: nn.Module, sr: Tensor, hr: Tensor) -> Tensor:
    """The generator's adversarial loss for its pictures, (B,3,H,W); real ones are seen without a graph."""
    fake = discriminator(sr)
    with torch.no_grad():  # the logits of real images hold nothing that the generator could change
        real = discriminator(hr) if adversarial.needs_real_in_generator else None
    return adversarial.generator_loss(real, fake)


def relay(loss: Tensor, *, seen: Tensor, picture: Tensor, scale: Tensor | None = None) -> Tensor:
    """A loss computed on a detached copy of a picture, as if it had been computed on the picture itself.

    By the chain rule ∂L/∂θ_G = ∂L/∂x · ∂x/∂θ_G. The first factor is taken here, through the discriminator
    alone and with no gradient to its parameters; its graph is kept for the discriminator's own loss. The
    second is left to the backward pass of the result, for which that graph is not needed any more.

    Args:
        loss: scalar, with its graph down to ``seen``.
        seen: the copy, ``picture.detach().requires_grad_()``.
        picture: the generator's output with its graph.
        scale: of the gradient scaler, where there is one: what passes through in half precision is kept in
            its range, as in an ordinary backward pass of the scaled loss.

    Returns:
        ``loss``'s value, with the gradient ∂L/∂x at ``picture``.
    """
    scale = torch.ones_like(loss) if scale is None else scale
    (gradient,) = torch.autograd.grad(loss * scale, seen, retain_graph=True)
    out: Tensor = _Relay.apply(picture, loss.detach(), gradient, scale)
    return out


class _Relay(Function):
    @staticmethod
    def forward(ctx: Any, picture: Tensor, value: Tensor, gradient: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, scale)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient, scale = ctx.saved_tensors
        return (gradient * (grad / scale).to(gradient.dtype), None, None, None)
