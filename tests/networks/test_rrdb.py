"""RRDBNet: published counts, the interface of keys, every scale, and the forward pass written by hand."""

import numpy as np
import pytest
import torch
from by_formula import randomized
from torch.nn.functional import conv2d, leaky_relu

from esrgan_lightning.networks import RRDBNet

SMALL = {"num_features": 6, "num_blocks": 2, "growth_channels": 3}


@pytest.mark.parametrize(
    ("scale", "unshuffle", "first_channels", "ups"),
    [
        (1, None, 48, 2),
        (1, False, 3, 0),
        (2, None, 12, 2),
        (2, True, 12, 2),
        (2, False, 3, 1),
        (3, None, 3, 1),
        (4, None, 3, 2),
        (8, None, 3, 3),
    ],
)
class TestEveryScale:
    def test_keys(self, scale, unshuffle, first_channels, ups):
        """The keys are an interface with every upscaler: a renamed or surplus one makes files useless."""
        net = RRDBNet(scale=scale, unshuffle=unshuffle, **SMALL)
        dense = [f"body.{n}.rdb{m}.conv{k}" for n in range(2) for m in (1, 2, 3) for k in range(1, 6)]
        up = [f"conv_up{k}" for k in range(1, ups + 1)]
        modules = ["conv_first", *dense, "conv_body", *up, "conv_hr", "conv_last"]
        assert set(net.state_dict()) == {f"{name}.{kind}" for name in modules for kind in ("weight", "bias")}
        assert net.conv_first.in_channels == first_channels

    def test_shape_at_any_size_and_gradient_everywhere(self, scale, unshuffle, first_channels, ups):
        """Odd and tiny sizes work (1×1 cannot be mirrored), and no parameter is left out of the graph."""
        net = RRDBNet(scale=scale, unshuffle=unshuffle, init_scale=1, **SMALL)
        for height, width in [(1, 1), (2, 7), (5, 6), (8, 4)]:
            sr = net(torch.rand(2, 3, height, width))
            assert sr.shape == (2, 3, scale * height, scale * width)
        sr.sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def by_hand(net, x):
    """The x4 forward pass from the state dict, in NumPy and conv2d alone; β once per dense block and RRDB."""
    w, beta = net.state_dict(), net.spec["arguments"]["residual_scaling"]

    def conv(y, name):
        return conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    trunk = first = conv(x, "conv_first")
    for n in range(2):
        inner = trunk
        for m in (1, 2, 3):
            features = [inner]
            for k in range(1, 5):
                features.append(leaky_relu(conv(torch.cat(features, 1), f"body.{n}.rdb{m}.conv{k}"), 0.2))
            inner = inner + beta * conv(torch.cat(features, 1), f"body.{n}.rdb{m}.conv5")
        trunk = trunk + beta * inner
    y = first + conv(trunk, "conv_body")
    for step in ("conv_up1", "conv_up2"):
        y = torch.from_numpy(np.repeat(np.repeat(y.numpy(), 2, axis=-2), 2, axis=-1))
        y = leaky_relu(conv(y, step), 0.2)
    return conv(leaky_relu(conv(y, "conv_hr"), 0.2), "conv_last")


@torch.no_grad()
def test_forward_is_the_papers():
    """A missing residual, activation or β, or another order of steps, changes the values."""
    net = randomized(RRDBNet(init_scale=1, residual_scaling=0.3, **SMALL))
    x = torch.rand(1, 3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x), by_hand(net, x), rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("scale", [1, 2])
def test_unshuffle_folds_and_pads_as_real_esrgan_does(scale):
    """Channel c·f² + f·row + column; fill by mirroring without repeating the edge; crop the result."""
    torch.manual_seed(0)
    net, fold = RRDBNet(scale=scale, init_scale=1, **SMALL).double(), 4 // scale
    x = torch.rand(1, 3, 6, 5, dtype=torch.float64)
    down, right = -6 % fold, -5 % fold
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode="reflect")
    b, c, h, w = padded.shape
    folded = padded.reshape(b, c, h // fold, fold, w // fold, fold).transpose(0, 1, 3, 5, 2, 4)
    folded = torch.from_numpy(np.ascontiguousarray(folded)).reshape(b, c * fold**2, h // fold, w // fold)
    expected = by_hand(net, folded)[..., : 6 * scale, : 5 * scale]
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)


def test_init_scope_says_which_convolutions_are_made_small():
    """``dense`` (BasicSR) leaves the outer convolutions and their biases to PyTorch; ``all`` is the paper."""
    torch.manual_seed(0)
    sizes = {"num_features": 32, "num_blocks": 1, "growth_channels": 32}
    everywhere, dense = RRDBNet(init_scale=0.1, **sizes), RRDBNet(init_scope="dense", init_scale=0.1, **sizes)
    small = 0.1 * (2 / (9 * 32)) ** 0.5
    for net in (everywhere, dense):
        assert net.body[0].rdb2.conv1.weight.std().item() == pytest.approx(small, rel=0.05)
        assert not net.body[0].rdb2.conv1.bias.any()
    assert everywhere.conv_body.weight.std().item() == pytest.approx(small, rel=0.05)
    assert not everywhere.conv_last.bias.any()
    pytorch = (1 / (3 * 9 * 32)) ** 0.5  # uniform within ±1/√fan_in
    assert dense.conv_body.weight.std().item() == pytest.approx(pytorch, rel=0.05)
    assert dense.conv_last.bias.all()


@torch.no_grad()
def test_other_channels_memory_formats_and_types():
    """channels_last gives the same values; bfloat16 and other channel counts are taken."""
    torch.manual_seed(0)
    net = RRDBNet(1, 2, init_scale=1, **SMALL)
    x = torch.rand(2, 1, 6, 6)
    plain = net(x)
    assert plain.shape == (2, 2, 24, 24)
    strided = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(strided, plain)
    assert net.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_compiles_without_a_graph_break():
    """A Python branch on values, or a data-dependent size, would break fullgraph."""
    net = RRDBNet(scale=2, **SMALL).eval()
    x = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(x), net(x))
