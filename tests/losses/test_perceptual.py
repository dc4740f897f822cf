"""Perceptual loss: value, gradient, and a backbone that no optimiser or checkpoint ever sees."""

import pytest
import skimage.data
import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import PerceptualLoss
from esrgan_lightning.networks.backbones import EfficientNetLite0Features, VGGFeatures


class Toy(nn.Module):
    """Two features that can be worked out by hand."""

    layers = ("triple", "square")

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"triple": image * self.weight, "square": image**2}


@pytest.fixture(scope="module")
def photos():
    """HR and a softened SR, (1,3,64,64) in [0,1]."""
    pixels = skimage.data.chelsea()[80:144, 100:164].copy()
    hr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    return nn.functional.avg_pool2d(hr, 3, stride=1, padding=1), hr


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


def test_gradient_goes_to_sr_alone(photos):
    sr, hr = (x.clone().requires_grad_() for x in photos)
    backbone = EfficientNetLite0Features([0, 2])

    PerceptualLoss(backbone)(sr, hr).backward()

    assert sr.grad.isfinite().all()
    assert (sr.grad.abs().amax(dim=1) > 0).float().mean() > 0.9
    assert hr.grad is None
    assert all(p.grad is None for p in backbone.parameters())


def test_the_backbone_is_no_part_of_the_parents_state_and_follows_its_moves():
    """Breaks where VGG lands in each checkpoint, in an optimiser or in DDP's reducer, or stays on the CPU."""
    loss = PerceptualLoss(Toy())
    parent = nn.ModuleDict({"losses": loss})

    assert list(parent.state_dict()) == []
    assert list(parent.parameters()) == []
    assert list(parent.buffers()) == []
    parent.to(torch.float64)
    assert loss.backbone.weight.dtype == torch.float64
    assert loss.backbone.norm.running_mean.dtype == torch.float64
    assert loss(torch.rand(1, 3, 2, 2).double(), torch.rand(1, 3, 2, 2).double()).dtype == torch.float64
    parent.to("meta")
    assert loss.backbone.weight.is_meta


def test_the_backbone_stays_frozen_in_a_training_parent():
    loss = PerceptualLoss(Toy())
    nn.Sequential(loss).train().requires_grad_(True)
    assert not loss.backbone.weight.requires_grad
    assert not loss.backbone.norm.training


def test_under_autocast_the_distance_is_summed_in_float32(photos):
    loss = PerceptualLoss(VGGFeatures("vgg16", ["conv1_2"], weights="random"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(*photos)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(*photos), rtol=0.05, atol=0)


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
