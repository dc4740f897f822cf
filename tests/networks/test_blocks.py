"""Blocks against the paper's equations, written out by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, leaky_relu

from esrgan_lightning.networks.blocks import RRDB, DenseBlock, ResidualBlock, scaled_msra_init


def dense_block(x, weights, prefix, beta):
    """ESRGAN fig. 4, from the names of the state dict alone."""
    features = [x]
    for k in range(1, 6):
        weight, bias = weights[f"{prefix}conv{k}.weight"], weights[f"{prefix}conv{k}.bias"]
        out = conv2d(torch.cat(features, 1), weight, bias, padding=1)
        if k < 5:
            features.append(leaky_relu(out, 0.2))
    return x + beta * out


def with_random_biases(module):
    for parameter in module.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    return module.double().eval()


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_rrdb_computes_the_papers_equation(beta):
    """β once per dense block and once around the three: leaving either out changes the result."""
    torch.manual_seed(0)
    block = with_random_biases(RRDB(6, 4, beta))
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    expected = x
    for m in (1, 2, 3):
        expected = dense_block(expected, block.state_dict(), f"rdb{m}.", beta)
    torch.testing.assert_close(block(x), x + beta * expected, rtol=0, atol=1e-12)


def test_in_place_activations_leave_the_input_and_the_gradients_alone():
    """LeakyReLU works in place: on the block's input it would corrupt the residual."""
    torch.manual_seed(0)
    block = DenseBlock(3, 2).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    assert torch.autograd.gradcheck(block, (x,))
    assert torch.equal(x.detach(), before)


def test_residual_block_computes_srgans_equation():
    """SRGAN fig. 4 with batch norm in eval mode: conv, BN, PReLU, conv, BN, sum."""
    torch.manual_seed(0)
    block = with_random_biases(ResidualBlock(4, batch_norm=True))
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    w = block.state_dict()

    def convolved(y, k):
        y = conv2d(y, w[f"conv{k}.weight"], w[f"conv{k}.bias"], padding=1)
        return y / (1 + 1e-5) ** 0.5 * w[f"norm{k}.weight"].view(1, -1, 1, 1) + w[f"norm{k}.bias"].view(
            1, -1, 1, 1
        )

    first = convolved(x, 1)
    expected = x + convolved(torch.where(first > 0, first, w["act.weight"] * first), 2)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_init_has_the_variance_of_msra_times_the_scale_squared(scale):
    """Var w = scale² · 2/fan_in, mean 0, b = 0; fan-out or a gain of its own would miss it."""
    torch.manual_seed(0)
    conv = nn.Conv2d(96, 64, 3)
    scaled_msra_init(conv, scale)
    expected = scale**2 * 2 / (96 * 9)
    assert conv.weight.var().item() == pytest.approx(expected, rel=0.03)
    assert abs(conv.weight.mean().item()) < 4 * (expected / conv.weight.numel()) ** 0.5
    assert not conv.bias.any()
