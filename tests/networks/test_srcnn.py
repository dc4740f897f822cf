"""SRCNN: the papers' counts, MATLAB's enlargement, and the equation written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from esrgan_lightning.networks import SRCNN
from esrgan_lightning.ops import imresize


def counts(net):
    """(weights, biases)."""
    named = dict(net.named_parameters())
    return tuple(sum(p.numel() for n, p in named.items() if n.endswith(end)) for end in ("weight", "bias"))


@pytest.mark.parametrize(
    ("kernels", "printed"),
    # Dong et al. 2016, table 1 and §4.3.2: n1 f1² + n1 f2² n2 + n2 f3² on one channel.
    [((9, 1, 5), 8_032), ((9, 3, 5), 24_416), ((9, 5, 5), 57_184)],
)
def test_parameter_counts_are_the_papers(kernels, printed):
    """Breaks if a layer has another width or another side."""
    assert counts(SRCNN(1, 1, kernels=kernels)) == (printed, 64 + 32 + 1)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(7, 5), (1, 2)])
def test_the_enlargement_is_matlabs(scale, size):
    """Breaks if the picture is shifted, its edges differ or torch's own cubic (a = −0.75) is taken."""
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    wide = SRCNN(num_features=2, scale=scale).enlarge(x)
    torch.testing.assert_close(wide, imresize(x, scale), rtol=0, atol=1e-6)


def test_autocast_does_not_coarsen_the_picture():
    """Breaks if the enlargement runs in bf16, whose steps near 1 are 1/256."""
    net, x = SRCNN(num_features=2), torch.rand(1, 3, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wide = net.enlarge(x)
    assert torch.equal(wide, net.enlarge(x))


def test_it_is_the_equation_and_every_parameter_learns():
    """Breaks if an activation is missing or one too many: after the last layer there is none."""
    net, x = SRCNN(num_features=6, kernels=(3, 1, 5), scale=2), torch.rand(2, 3, 5, 7)
    conv = {name: (p.weight, p.bias) for name, p in net.named_children()}
    y = F.relu(F.conv2d(imresize(x, 2), *conv["extract"], padding=1))
    y = F.conv2d(F.relu(F.conv2d(y, *conv["map"])), *conv["reconstruct"], padding=2)
    sr = net(x)
    assert sr.shape == (2, 3, 10, 14)
    torch.testing.assert_close(sr, y, rtol=1e-5, atol=1e-6)
    sr.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


def test_the_enlargement_is_no_part_of_the_weights():
    """Breaks if a file of one scale does not load at another: the three layers are the same."""
    state = SRCNN(num_features=2, scale=2).state_dict()
    SRCNN(num_features=2, scale=4).load_state_dict(state)
    assert {name.split(".")[0] for name in state} == {"extract", "map", "reconstruct"}


def test_built_without_memory_it_still_enlarges():
    """Breaks if the response is lost where files are loaded: networks are built on `meta` there."""
    with torch.device("meta"):
        net = SRCNN(num_features=2)
    net.load_state_dict(SRCNN(num_features=2).state_dict(), assign=True)
    assert net(torch.rand(1, 3, 4, 4)).shape == (1, 3, 16, 16)


def test_the_initialisation_is_msras():
    """Breaks if a layer keeps torch's own, smaller one."""
    torch.manual_seed(0)
    conv: nn.Conv2d = SRCNN().extract
    assert conv.weight.std().item() == pytest.approx((2 / (3 * 81)) ** 0.5, rel=0.03)
    assert not conv.bias.any()
