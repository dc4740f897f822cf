"""Perceptual losses by name: each argument reaches the backbone or the loss that it is meant for."""

import pytest
import torch
from hydra.utils import instantiate

from esrgan_lightning.config import compose
from esrgan_lightning.losses import PerceptualLoss, imagenet
from esrgan_lightning.losses.imagenet import efficientnet_perceptual, vgg_perceptual
from esrgan_lightning.networks.backbones import VGGFeatures


@pytest.fixture(scope="module")
def pair():
    return torch.rand(2, 1, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_vgg_settings_reach_backbone_and_loss(pair, vgg16_file):
    """Breaks if a keyword is dropped on the way: the default would be computed in silence."""
    sr, hr = pair
    layers, settings = ["conv2_2", "relu3_3"], {"criterion": "mse", "relative": True}
    found = vgg_perceptual("vgg16", layers, layer_weights=[2.0, 0.5], weights=vgg16_file, **settings)
    direct = PerceptualLoss(VGGFeatures("vgg16", layers, weights=vgg16_file), [2.0, 0.5], **settings)
    assert found(sr, hr).item() == direct(sr, hr).item()


def test_srgans_variant_is_another_loss(pair, vgg16_file):
    """Breaks if after activation with the squared distance is computed as before it with L1."""
    sr, hr = pair
    srgan = vgg_perceptual("vgg16", ["relu5_3"], weights=vgg16_file, criterion="mse")
    features = VGGFeatures("vgg16", ["conv5_3"], weights=vgg16_file)
    expected = (features(sr)["conv5_3"].relu() - features(hr)["conv5_3"].relu()).square().mean()
    torch.testing.assert_close(srgan(sr, hr), expected)


def test_layer_weights_follow_the_callers_order(pair):
    """Breaks if the weights are paired with the network's order of its blocks instead."""
    sr, hr = pair
    late_first = efficientnet_perceptual([4, 0], layer_weights=[1.0, 0.0])
    only_late = efficientnet_perceptual([4])
    assert late_first(sr, hr).item() == pytest.approx(only_late(sr, hr).item())
    assert late_first(sr, hr).item() != pytest.approx(efficientnet_perceptual([0])(sr, hr).item())


@pytest.mark.parametrize("kind", ["perceptual", "contextual"])
def test_the_configuration_says_what_the_functions_do_by_default(pair, kind):
    """Breaks if a key of conf/loss is not taken, or a default differs from the function's."""
    loss = instantiate(compose(f"loss/{kind}=efficientnet_lite0").loss[kind])
    by_default = getattr(imagenet, f"efficientnet_{kind}")()
    assert loss(*pair).item() == by_default(*pair).item()
    for choice in ("vgg19", "vgg16")[: 1 + (kind == "perceptual")]:
        cfg = compose(f"loss/{kind}={choice}", f"loss.{kind}.weights=random").loss[kind]
        assert instantiate(cfg).backbone.layers == (*cfg.layers,)
