"""LPIPS and DISTS of 8-bit pictures: preparation; the networks have tests of their own."""

import pytest
import torch
from torch import nn

from esrgan_lightning.metrics.perceptual import dists, lpips


class Difference(nn.Module):
    """In place of a network: the mean absolute difference, and what it was given."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, sr, hr):
        self.given = sr
        return self.scale * (sr - hr).abs().mean((1, 2, 3))


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("function", [lpips, dists])
def test_the_network_sees_eight_bits_without_the_border(function):
    """Breaks where unrounded or uncropped pictures are compared, which gives other figures than papers'."""
    network = Difference()
    sr, hr = noise(2, 3, 20, 24), noise(2, 3, 20, 24, seed=1)
    found = function(sr / 255 + 0.4 / 255, hr, 4, network)
    assert torch.equal(network.given, sr[..., 4:-4, 4:-4] / 255)
    assert found.dtype is torch.float64
    expected = (sr.double() - hr.double()).abs()[..., 4:-4, 4:-4].mean((1, 2, 3)) / 255
    assert torch.allclose(found, expected, atol=1e-6)
    assert not found.requires_grad


def test_gray_is_repeated():
    network = Difference()
    lpips(noise(1, 1, 20, 24), noise(1, 1, 20, 24, seed=1), 0, network)
    assert network.given.shape == (1, 3, 20, 24)
