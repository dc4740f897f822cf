"""SRResNet: scales, and where batch norm is."""

import pytest
import torch
from by_formula import batch_normed, leaky, randomized
from torch.nn.functional import conv2d, pixel_shuffle

from esrgan_lightning.networks import SRResNet


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_every_scale(scale, batch_norm):
    """Shapes at odd sizes, and a gradient to every parameter."""
    net = SRResNet(num_features=4, num_blocks=2, scale=scale, batch_norm=batch_norm, init_scale=1)
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
