"""The start as an enlargement: what passes is bilinear interpolation, step by step, to rounding."""

import pytest
import torch
import torch.nn.functional as F

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet, SRResNet

STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
RRDB = {"num_features": 16, "num_blocks": 1, "growth_channels": 8, "init_scope": "dense"}
RESNET = {"num_features": 16, "num_blocks": 1}


def enlarged(x, scale):
    """Torch's own bilinear interpolation, once for each of the network's steps."""
    for factor in STEPS[scale]:
        x = F.interpolate(x, scale_factor=factor, mode="bilinear")
    return x


def inner(image, scale):
    """Without the border, where zero padding takes part."""
    return image[..., 4 * scale : -4 * scale, 4 * scale : -4 * scale]


@torch.no_grad()
@pytest.mark.parametrize("scale", STEPS)
@pytest.mark.parametrize(
    ("kind", "settings", "last"),
    [
        (RRDBNet, RRDB | {"unshuffle": False}, "conv_last"),
        (SRResNet, RESNET, "last"),
        (SRResNet, RESNET | {"batch_norm": True}, "last"),
    ],
)
def test_colors_pass_bilinearly(kind, settings, last, scale):
    """With the other features' share of the last convolution taken away, nothing else is left."""
    net = kind(**settings, scale=scale, bilinear_init=True)
    x = torch.rand(1, 3, 12, 13)
    final = net.get_submodule(last)
    assert final.weight[:, 3:].abs().max() > 0  # the rest begins with a say
    final.weight[:, 3:] = 0
    torch.testing.assert_close(inner(net(x), scale), inner(enlarged(x, scale), scale))


@torch.no_grad()
@pytest.mark.parametrize(("scale", "fold"), [(2, 2), (1, 4)])
def test_a_folded_input_passes_in_the_mean(scale, fold):
    net = RRDBNet(**RRDB, scale=scale, bilinear_init=True)
    net.conv_last.weight[:, 3:] = 0
    x = torch.rand(1, 3, 24, 24)
    expected = enlarged(F.avg_pool2d(x, fold), 4)
    torch.testing.assert_close(inner(net(x), 4), inner(expected, 4))


@pytest.mark.parametrize("seed", range(3))
def test_the_start_is_near_the_enlargement_and_every_weight_learns(seed):
    """Within a few levels of 255 as it is; none of the convolutions is cut off."""
    torch.manual_seed(seed)
    for net in (RRDBNet(**RRDB, bilinear_init=True), SRResNet(**RESNET, bilinear_init=True)):
        x = torch.rand(1, 3, 16, 16)
        sr = net(x)
        assert (inner(sr, 4) - inner(enlarged(x, 4), 4)).abs().mean() < 4 / 255
        (sr - torch.rand_like(sr)).square().mean().backward()
        assert all(p.grad.abs().max() > 0 for name, p in net.named_parameters() if name.endswith("weight"))


def test_it_is_no_part_of_what_the_network_is():
    """A file of weights does not ask how they were initialised."""
    net = RRDBNet(**RRDB, bilinear_init=True)
    assert net.spec == RRDBNet(**RRDB).spec
    assert SRResNet(**RESNET, bilinear_init=True).spec == SRResNet(**RESNET).spec


@pytest.mark.parametrize(("kind", "settings"), [(RRDBNet, RRDB), (SRResNet, RESNET)])
def test_settings_are_checked(kind, settings):
    with pytest.raises(InputError, match="out_channels=1"):
        kind(**settings, bilinear_init=True, out_channels=1)
    with pytest.raises(InputError, match="num_features=2"):
        kind(**settings | {"num_features": 2}, bilinear_init=True)
