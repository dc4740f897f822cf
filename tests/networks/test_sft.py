"""Spatial feature transform: the equation by hand, and that the maps are used."""

import pytest
import torch
import torch.nn.functional as F

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import (
    OUTDOOR_CLASSES,
    RRDBNet,
    SFTNet,
    build_network,
    conditions_of,
    network_spec,
)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_every_scale(scale):
    """Shapes at odd sizes, and a gradient to every parameter, also of the condition network."""
    net = SFTNet(["a", "b", "c"], num_features=4, num_blocks=2, scale=scale, init_scale=0.5)
    sr = net(random(2, 3, 5, 7), random(2, 3, 5, 7).softmax(1))
    assert sr.shape == (2, 3, 5 * scale, 7 * scale)
    sr.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


@torch.no_grad()
def test_the_network_is_the_equations_written_out():
    """Breaks if an activation, a connection or the last modulation is missing, or stands elsewhere."""
    net = SFTNet(["a", "b"], num_features=4, num_blocks=2, scale=2, init_scale=0.7)
    x, maps = random(1, 3, 5, 6), random(1, 2, 5, 6).softmax(1)

    def conv(layer, f):
        return F.conv2d(f, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    def sft(layer, f, c):
        gamma, beta = (
            conv(after, F.leaky_relu(conv(before, c), 0.1))
            for before, after in (
                (layer.scale_conv0, layer.scale_conv1),
                (layer.shift_conv0, layer.shift_conv1),
            )
        )
        return f * (1 + gamma) + beta

    c = maps
    for number in (0, 2, 4, 6, 8):
        c = conv(net.condition[number], c if number == 0 else F.leaky_relu(c, 0.1))
    f = first = conv(net.conv_first, x)
    for block in net.body:
        f = f + conv(block.conv2, sft(block.sft2, F.relu(conv(block.conv1, sft(block.sft1, f, c))), c))
    f = first + conv(net.conv_body, sft(net.sft_body, f, c))
    f = F.relu(F.pixel_shuffle(conv(net.upsampling[0], f), 2))
    expected = conv(net.conv_last, F.relu(conv(net.conv_hr, f)))
    torch.testing.assert_close(net(x, maps), expected)


def test_files_rebuild_it():
    """Breaks if the class set is lost: an LR image alone does not tell which maps a file wants."""
    net = SFTNet(("sky", "rest"), num_features=4, num_blocks=1)
    assert conditions_of(net) == conditions_of(build_network(network_spec(net))) == ("sky", "rest")
    assert conditions_of(SFTNet(num_features=4, num_blocks=1)) == OUTDOOR_CLASSES
    assert conditions_of(RRDBNet(num_features=4, num_blocks=1, growth_channels=2)) == ()


@pytest.mark.parametrize("shape", [(2, 2, 5, 7), (2, 3, 10, 14), (1, 3, 5, 7), (2, 3, 5, 6)])
def test_maps_that_do_not_fit_are_named(shape):
    """Breaks if one map would be broadcast, or a wrong number only found by a convolution."""
    net = SFTNet(["a", "b", "c"], num_features=4, num_blocks=1)
    with pytest.raises(InputError, match="maps of a, b, c"):
        net(torch.rand(2, 3, 5, 7), torch.rand(shape))
