"""Both networks' adversarial losses from one pass of the discriminator over each set of pictures."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from esrgan_lightning.losses.adversarial import AdversarialLoss


def both_losses(
    adversarial: AdversarialLoss,
    discriminator: nn.Module,
    sr: Tensor,
    hr: Tensor,
    *,
    generator: bool = True,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(L_G, L_D, C(hr), C(sr)): L_G has a gradient to ``sr`` alone, L_D to the discriminator alone.

    With separate turns the discriminator sees each set of pictures twice. Where the generator steps first,
    its step changes neither ``sr``, which was made before, nor the discriminator: the second time would give
    the same logits.

    Args:
        adversarial: the pair of losses.
        discriminator: (B,3,H,W) → raw logits.
        sr: the generator's pictures with their graph, (B,3,H,W).
        hr: real pictures, (B,3,H,W).
        generator: whether L_G is asked for; else it comes back as 0.
        scale: of the gradient scaler, where there is one: what passes through the discriminator in half
            precision is kept in its range, as in an ordinary backward pass of the scaled loss.
    """
    seen = sr.detach().requires_grad_()
    real, fake = discriminator(hr), discriminator(seen)
    loss_g = fake.new_zeros(())
    if generator:
        scale = torch.ones_like(loss_g) if scale is None else scale
        loss_g = adversarial.generator_loss(real.detach(), fake)
        # By the chain rule ∂L/∂θ_G = ∂L/∂x · ∂x/∂θ_G. The first factor is taken here, through the
        # discriminator alone and with no gradient to its parameters; its graph is kept for L_D. The second
        # is left to the backward pass of the result, for which that graph is not needed any more.
        (gradient,) = torch.autograd.grad(loss_g * scale, seen, retain_graph=True)
        loss_g = _Relay.apply(sr, loss_g.detach(), gradient, scale)
    return loss_g, adversarial.discriminator_loss(real, fake), real, fake


class _Relay(Function):
    """L's value, with the gradient ∂L/∂x at the picture."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, value: Tensor, gradient: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, scale)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient, scale = ctx.saved_tensors
        return (gradient * (grad / scale).to(gradient.dtype), None, None, None)
