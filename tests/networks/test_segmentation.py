"""Maps by torchvision's networks: which output is which class, local weights, and the LR's own size."""

import logging

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.segmentation import (
    LRASPP_MobileNet_V3_Large_Weights,
    deeplabv3_mobilenet_v3_large,
    lraspp_mobilenet_v3_large,
)

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import OUTDOOR_CLASSES
from esrgan_lightning.networks.segmentation import Segmentation
from esrgan_lightning.ops import imresize


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of 21 outputs, with statistics that let the network see something."""
    torch.manual_seed(0)
    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.save(network.state_dict(), path)
    return path


def photo(height=12, width=20):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_class_is_the_sum_of_its_outputs_at_the_mean_of_its_pixels(weights):
    """Against torchvision's own network and a loop over outputs.

    Breaks if ImageNet's statistics are not applied, the softmax is taken after the sum, or an output goes to
    another class.
    """
    names = LRASPP_MobileNet_V3_Large_Weights.DEFAULT.meta["categories"]
    own = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    own.load_state_dict(torch.load(weights, weights_only=True))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    p = own((imresize(photo(), 4) - mean) / std)["out"].softmax(1)
    animals = ("bird", "cat", "cow", "dog", "horse", "sheep")
    expected = torch.zeros(2, 8, 12, 20)
    for index, name in enumerate(names):
        home = "animal" if name in animals else "plant" if name == "pottedplant" else "background"
        small = p[:, index].unflatten(-2, (12, 4)).unflatten(-1, (20, 4)).mean((-3, -1))
        expected[:, OUTDOOR_CLASSES.index(home)] += small
    torch.testing.assert_close(Segmentation(weights=weights)(photo()), expected, rtol=1e-4, atol=1e-6)


def test_what_a_network_does_not_know_is_told(weights, caplog):
    """Breaks if someone trains for days on a sky that is 0 throughout without having been told."""
    with caplog.at_level(logging.WARNING):
        Segmentation(weights=weights)
    assert "sky, water, grass, mountain, building" in caplog.text


def test_a_network_of_the_users_own_classes(tmp_path, caplog):
    """Outputs that are called as the classes need no groups; deeplab's auxiliary head is passed over."""
    torch.manual_seed(0)
    network = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3, aux_loss=True)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    given = {"network": "deeplabv3_mobilenet_v3_large", "weights": tmp_path / "mine.safetensors"}
    names = ["tree", "sky", "background"]
    with caplog.at_level(logging.WARNING):
        net = Segmentation(
            ["background", "sky", "plant"], **given, categories=names, groups={"plant": ["tree"]}
        )
    assert caplog.text == ""
    assert net.member.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert net(photo()).shape == (2, 3, 12, 20)
    with pytest.raises(InputError, match=r"has 3 outputs, and conditions\.categories names 21"):
        Segmentation(**given)
    with pytest.raises(InputError, match="tree belongs to no class"):
        Segmentation(["sky", "plant"], **given, categories=names)


def test_it_stays_as_it_is(weights):
    """Frozen: breaks if batch norm follows the photos, or a parameter wants a gradient."""
    net = Segmentation(weights=weights)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first = net(photo())
    assert torch.equal(first, net(photo()))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(p.requires_grad for p in net.parameters())
    assert net(photo().bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"network": "resnet"}, "conditions.network=resnet"),
        ({"categories": ["sky"]}, "has 21 outputs, and conditions.categories names 1"),
        ({"classes": None}, "generator=sft"),
        ({"enlarge": 0}, "conditions.enlarge=0"),
        ({"groups": {"sea": ["boat"]}}, "names sea"),
        ({"groups": {"water": ["lake"]}}, "lake is none of"),
        ({"groups": {"water": ["boat"], "sky": ["boat"]}}, "boat belongs to water and to sky"),
        ({"weights": "nowhere.pth"}, "no such file"),
        ({"network": "deeplabv3_mobilenet_v3_large"}, "not deeplabv3"),
    ],
)
def test_wrong_settings_are_named(settings, told, weights):
    with pytest.raises(InputError, match=told):
        Segmentation(**({"weights": weights} | settings))
