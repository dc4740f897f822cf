"""The VGG that learns, against torchvision's; what it starts from, and files that do not fit."""

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.backbones import VGGFeatures
from esrgan_lightning.networks.classifier import VGGClassifier, load_pretrained

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def light(**settings):
    return VGGClassifier(**({"num_classes": 3, "arch": "vgg16", "head": "light"} | settings))


@pytest.mark.slow
def test_it_is_torchvisions_vgg_on_normalised_pictures_and_starts_from_its_file(tmp_path):
    """Breaks with another order of layers, other names, a lost normalisation, or an old last layer."""
    torch.manual_seed(0)
    reference = torchvision.models.vgg16(weights=None, num_classes=5).eval()
    torch.save(reference.state_dict(), tmp_path / "vgg16.pth")
    network = VGGClassifier(5, "vgg16").eval()
    fresh = network.classifier[6].weight.clone()
    loaded = load_pretrained(network, tmp_path / "vgg16.pth")
    assert network.state_dict().keys() == reference.state_dict().keys()
    assert reference.state_dict().keys() - loaded.keys() == {"classifier.6.weight", "classifier.6.bias"}
    assert torch.equal(network.classifier[6].weight, fresh)
    network.classifier[6].load_state_dict(reference.classifier[6].state_dict())
    image = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), reference((image - MEAN) / STD))


@pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
def test_fresh_weights_have_torchvisions_spread(arch):
    """Breaks if a layer is left as memory was found, or drawn in another way."""
    torch.manual_seed(0)
    network = light(arch=arch)
    for index, layer in enumerate(network.features):
        if isinstance(layer, torch.nn.Conv2d):
            expected = (2 / (9 * layer.out_channels)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.1), index
            assert not layer.bias.any()
    assert network.classifier[1].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert network(torch.rand(2, 3, 32, 40)).shape == (2, 3)


def test_features_alone_start_a_network_with_a_fresh_head(vgg16_file):
    """Breaks if the perceptual loss and the classifier disagree about what a file of features means."""
    network = light().eval()
    assert set(load_pretrained(network, vgg16_file)) == set(load_file(vgg16_file))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = VGGFeatures("vgg16", ["pool5"], weights=vgg16_file)(image)["pool5"]
        torch.testing.assert_close(network.features((image - MEAN) / STD), expected)


def test_wrong_settings_and_files_are_told(tmp_path):
    for settings, words in (
        ({"arch": "vgg11"}, "arch='vgg11' must be vgg16 or vgg19"),
        ({"head": "heavy"}, "head='heavy'"),
        ({"dropout": 1.0}, "dropout=1.0 must be"),
        ({"num_classes": 1}, "give two or more"),
    ):
        with pytest.raises(InputError, match=words):
            light(**settings)
    save_file(light(arch="vgg19").features.state_dict(prefix="features."), tmp_path / "19.safetensors")
    with pytest.raises(InputError, match=r"init=.*19\.safetensors: not vgg16: unexpected key features"):
        load_pretrained(light(), tmp_path / "19.safetensors")


@pytest.mark.parametrize("content", [{"state_dict": {"generator.weight": torch.zeros(1)}}, [1], {}])
def test_a_checkpoint_of_another_stage_is_refused(tmp_path, content):
    """Breaks if a generator's checkpoint ends in a message about missing keys, or in a traceback."""
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"weights=.*last\.ckpt: .*or a checkpoint of stage=material"):
        VGGFeatures(weights=tmp_path / "last.ckpt")
