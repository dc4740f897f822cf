"""Perceptual loss: value, gradient, and a backbone that no optimiser or checkpoint ever sees."""

import pytest
import torch
from by_formula import Toy
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import PerceptualLoss


@pytest.mark.parametrize(
    ("criterion", "relative", "expected"),
    [
        # sr = 0.5, hr = 0.25: triple 1.5 and 0.75, square 0.25 and 0.0625
        ("l1", False, 2 * 0.75 + 10 * 0.1875),
        ("mse", False, 2 * 0.75**2 + 10 * 0.1875**2),
        ("l1", True, 2 * 0.75 / 0.75 + 10 * 0.1875 / 0.0625),
        ("mse", True, 2 * 1.0 + 10 * (0.1875 / 0.0625) ** 2),
    ],
)
def test_value_worked_out_by_hand(criterion, relative, expected):
    loss = PerceptualLoss(Toy(), [2.0, 10.0], criterion=criterion, relative=relative)
    for channels in (3, 1):
        sr, hr = torch.full((2, channels, 4, 4), 0.5), torch.full((2, channels, 4, 4), 0.25)
        assert loss(sr, hr).item() == pytest.approx(expected)


def test_the_backbone_is_no_part_of_the_parents_state_and_follows_its_moves():
    """Breaks where VGG lands in each checkpoint, in an optimiser or in DDP's reducer, or stays on the CPU."""
    loss = PerceptualLoss(Toy())
    parent = nn.ModuleDict({"losses": loss})

    assert list(parent.state_dict()) == []
    assert list(parent.parameters()) == []
    assert list(parent.buffers()) == []
    assert not loss.backbone.weight.requires_grad
    assert not loss.backbone.norm.training
    parent.to(torch.float64)
    assert loss.backbone.weight.dtype == torch.float64
    assert loss.backbone.norm.running_mean.dtype == torch.float64
    assert loss(torch.rand(1, 3, 2, 2).double(), torch.rand(1, 3, 2, 2).double()).dtype == torch.float64
    parent.to("meta")
    assert loss.backbone.weight.is_meta


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_weights": [1.0]}, "2 layers need 2 weights"),
        ({"layer_weights": [1.0, -1.0]}, "layer_weights of square=-1.0"),
        ({"criterion": "l2"}, "criterion=l2: expected one of l1, mse"),
        ({"shift": 0}, "shift=0 must be at least 1"),
        ({"backbone": nn.Identity()}, "Identity: expected a network that names its `layers`"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        PerceptualLoss(**({"backbone": Toy()} | arguments))


def test_shift_compares_each_sample_from_a_pixel_of_its_own_on():
    """By hand, with features that are the pixels: sample i from column i % 2 and row i // 2 % 2 on."""
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 5, 3, 6, 7)
    loss = PerceptualLoss(Toy(), [1.0, 0.0], shift=2)
    corners = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0)]  # top, left
    expected = [
        3 * (sr - hr)[i, :, top : top + 5, left : left + 6].abs().mean()
        for i, (top, left) in enumerate(corners)
    ]
    assert loss(sr, hr).item() == pytest.approx(torch.stack(expected).mean().item())
