"""The U-Net discriminator; what all discriminators share is in test_discriminators."""

import pytest
import torch
from by_formula import leaky, randomized
from torch.nn.functional import conv2d

from esrgan_lightning.networks import UNetDiscriminator


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_unet_parameter_count():
    """4,376,897: three biased outer parts by arithmetic; spectral norm adds buffers, no parameters."""
    nf = 64
    down = 16 * (nf * 2 * nf + 2 * nf * 4 * nf + 4 * nf * 8 * nf)
    up = 9 * (8 * nf * 4 * nf + 4 * nf * 2 * nf + 2 * nf * nf)
    assert count(UNetDiscriminator()) == 4_376_897 == (27 * nf + nf) + down + up + 18 * nf * nf + 9 * nf + 1


@pytest.mark.parametrize("size", [(8, 8), (13, 22), (64, 40)])
def test_unet_gives_a_logit_per_pixel_at_any_size(size):
    """Sizes that are no multiple of 8 break an upsampling by a fixed factor of 2."""
    assert UNetDiscriminator(num_features=2)(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_unet_weights_have_spectral_norm_one():
    """The largest singular value of each normalised layer, by SVD; first and last are free."""
    torch.manual_seed(0)
    net = UNetDiscriminator(num_features=4)
    for _ in range(30):  # power iterations
        net(torch.rand(1, 3, 16, 16))
    layers = [*net.down, *net.up, net.head[0], net.head[2]]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert norms == pytest.approx([1] * 8, abs=0.05)
    assert not any(hasattr(layer, "parametrizations") for layer in (net.first, net.head[4]))


def enlarged(x, size):
    """(B,C,h,w) → (B,C,*size), bilinear between the centres of pixels (align_corners=False)."""
    for axis, length in ((2, size[0]), (3, size[1])):
        before = x.shape[axis]
        place = ((torch.arange(length).double() + 0.5) * before / length - 0.5).clamp(0, before - 1)
        low = place.floor().long()
        share = (place - low).reshape([-1 if each == axis else 1 for each in range(4)])
        high = (low + 1).clamp(max=before - 1)
        x = (1 - share) * x.index_select(axis, low) + share * x.index_select(axis, high)
    return x


@pytest.mark.parametrize("skips", [True, False])
def test_unet_computes_the_papers_layers(skips):
    """Another slope, skip, way to enlarge or order of them changes the logits."""
    torch.manual_seed(0)
    net = randomized(UNetDiscriminator(num_features=4, skip_connections=skips))
    x = torch.rand(1, 3, 19, 24, dtype=torch.float64)
    expected, ways = leaky(conv2d(x, net.first.weight, net.first.bias, padding=1), 0.2), []
    for down in net.down:
        ways.append(expected)
        expected = leaky(conv2d(expected, down.weight, None, 2, padding=1), 0.2)
    for up, way in zip(net.up, reversed(ways), strict=True):
        expected = leaky(conv2d(enlarged(expected, way.shape[2:]), up.weight, padding=1), 0.2) + skips * way
    for layer in (0, 2):
        expected = leaky(conv2d(expected, net.head[layer].weight, padding=1), 0.2)
    expected = conv2d(expected, net.head[4].weight, net.head[4].bias, padding=1)
    torch.testing.assert_close(net(x), expected, rtol=1e-9, atol=1e-9)
