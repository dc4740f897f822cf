"""The U-Net discriminator; what all discriminators share is in test_discriminators."""

import pytest
import torch

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


def test_unet_skip_connections_matter():
    torch.manual_seed(0)
    net, x = UNetDiscriminator(num_features=4).eval(), torch.rand(1, 3, 16, 16)
    with_skips = net(x)
    net.skip_connections = False
    assert not torch.allclose(net(x), with_skips)
