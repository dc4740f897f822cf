"""SRResNet: counts by arithmetic, scales, and where batch norm is."""

import pytest
import torch
from by_formula import batch_normed, count, leaky, randomized
from torch.nn.functional import conv2d, pixel_shuffle

from esrgan_lightning.networks import SRResNet


def closed_form(nf, nb, factors, batch_norm):
    """9×9 ends, 2·nb + 1 square convolutions, one slope per PReLU, two figures per normalised channel."""
    square, norm = 9 * nf * nf + nf, 2 * nf * batch_norm
    ends = 81 * 3 * nf + nf + 1 + 81 * nf * 3 + 3
    upsampling = sum(9 * nf * nf * f * f + nf * f * f + 1 for f in factors)
    return ends + nb * (2 * (square + norm) + 1) + square + norm + upsampling


def test_parameter_counts():
    """1,549,462 is what implementations of SRGAN with one slope per PReLU report at x4."""
    assert count(SRResNet(batch_norm=True)) == 1_549_462 == closed_form(64, 16, (2, 2), True)
    assert count(SRResNet()) == 1_545_238 == closed_form(64, 16, (2, 2), False)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("scale", "factors"), [(1, ()), (2, (2,)), (3, (3,)), (4, (2, 2)), (8, (2, 2, 2))])
def test_every_scale(scale, factors, batch_norm):
    """Shapes at odd sizes, the count, and a gradient to every parameter."""
    net = SRResNet(num_features=4, num_blocks=2, scale=scale, batch_norm=batch_norm, init_scale=1)
    assert count(net) == closed_form(4, 2, factors, batch_norm)
    sr = net(torch.rand(2, 3, 5, 7))
    assert sr.shape == (2, 3, 5 * scale, 7 * scale)
    sr.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("batch_norm", [False, True])
def test_forward_is_srgans_figure_4(batch_norm):
    """Breaks if a skip, a slope, a batch norm or an activation is missing, or in another place."""
    net = randomized(SRResNet(num_features=4, num_blocks=2, batch_norm=batch_norm, init_scale=1))
    w, x = net.state_dict(), torch.rand(2, 3, 5, 7, dtype=torch.float64)

    def conv(y, name, padding=1):
        return conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    def norm(y, name):
        return batch_normed(y, w, name) if batch_norm else y

    first = features = leaky(conv(x, "first.0", 4), w["first.1.weight"])
    for block in ("body.0", "body.1"):
        inner = leaky(norm(conv(features, f"{block}.conv1"), f"{block}.norm1"), w[f"{block}.act.weight"])
        features = features + norm(conv(inner, f"{block}.conv2"), f"{block}.norm2")
    features = first + norm(conv(features, "body.2"), "body.3")
    for step in (0, 3):
        features = pixel_shuffle(conv(features, f"upsampling.{step}"), 2)
        features = leaky(features, w[f"upsampling.{step + 2}.weight"])
    torch.testing.assert_close(net(x), conv(features, "last", 4), rtol=1e-9, atol=1e-9)
