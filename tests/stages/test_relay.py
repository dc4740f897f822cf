"""A loss through the discriminator, for the generator alone."""

import pytest
import torch
from by_hand import discriminator, generator
from torch import nn

from esrgan_lightning.stages.relay import frozen, relay


def test_frozen_restores_what_was_learning_and_lets_gradients_through():
    """Breaks if an error inside leaves the module frozen, or if a part frozen before is thawed after."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].weight.requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)

    def fails_inside():
        with frozen(module):
            module(x).sum().backward()
            raise KeyError

    with pytest.raises(KeyError):
        fails_inside()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in module.parameters())
    assert [p.requires_grad for p in module.parameters()] == [False, True, True, True]


def loss_of(logits):
    return nn.functional.softplus(-logits).mean()


@pytest.mark.parametrize("scale", [None, 2.0**7])
def test_a_relayed_loss_has_the_value_and_the_gradient_of_the_loss(scale):
    """Breaks if a factor is lost on the way, or the discriminator learns from the generator's loss."""
    g, d, lr = generator().double(), discriminator().double(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    whole = 3 * loss_of(d(g(lr)))
    expected = torch.autograd.grad(whole, list(g.parameters()))

    picture = g(lr)
    seen = picture.detach().requires_grad_()
    logits = d(seen)
    passed = relay(
        loss_of(logits), seen=seen, picture=picture, scale=None if scale is None else torch.tensor(scale)
    )
    assert all(p.grad is None for p in d.parameters())
    loss_of(-logits).backward()  # the discriminator's own loss, which frees the graph
    (3 * passed).backward()
    assert passed.item() == pytest.approx(whole.item() / 3)
    for parameter, gradient in zip(g.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-14)


def test_small_gradients_pass_in_half_precision_where_the_scaler_says_so():
    """Breaks if the scale is taken off in fp16, whose smallest number is 6e-8."""

    def gradient(scale):
        picture = torch.ones(4, dtype=torch.float16, requires_grad=True)
        seen = picture.detach().requires_grad_()
        passed = relay(
            (seen * 1e-3).float().sum() * 1e-6, seen=seen, picture=picture, scale=torch.tensor(scale)
        )
        (passed * scale).backward()
        return picture.grad.float() / scale

    assert gradient(1.0).abs().max() == 0
    torch.testing.assert_close(gradient(2.0**14), torch.full((4,), 1e-9), rtol=1e-2, atol=0)
