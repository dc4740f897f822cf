"""What makes an update faster leaves its values and the names of the weights alone."""

import copy

import pytest
import torch
from by_hand import adam, batches, fit, gan_stage, trainer_settings
from torch import nn

from esrgan_lightning.losses import PerceptualLoss, WeightedLoss
from esrgan_lightning.networks.backbones import EfficientNetLite0Features, VGGFeatures
from esrgan_lightning.run.speed import speed_up

OFF = {"channels_last": False, "cast_features": False, "precision": "32"}


def vgg_loss():
    torch.manual_seed(0)
    return PerceptualLoss(VGGFeatures("vgg16", ["conv2_1"], weights="random"))


def stage_with_features():
    terms = {"pixel": nn.L1Loss(), "perceptual": vgg_loss()}
    weights = {"pixel": 1e-2, "perceptual": 1.0, "adversarial": 5e-3}
    return gan_stage(losses=WeightedLoss(terms, weights, given=["adversarial"]), optimizer=adam)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)]
)
def test_cast_features_are_the_same_to_the_bit_under_autocast(precision, dtype):
    """Breaks if the image's scaling is cast too, or the weights lose more than autocast takes from them."""
    stage = stage_with_features()
    plain = copy.deepcopy(stage.losses.terms["perceptual"])
    changes = OFF | {"cast_features": True, "precision": precision, "accelerator": "mps"}
    speed_up(stage, trainer_settings(**changes))
    cast = stage.losses.terms["perceptual"]
    assert {p.dtype for p in cast.backbone.parameters()} == {dtype}
    sr, hr = torch.rand(2, 1, 3, 16, 16)
    results = []
    for loss in (cast, plain):
        picture = sr.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype):
            value = loss(picture, hr)
        value.backward()
        assert value.dtype == torch.float32
        results.append((value, picture.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_full_precision_and_other_backbones_are_left_alone():
    """Breaks if fp32 training silently gets half-precision features, or batch norm's statistics are cast."""
    stage = stage_with_features()
    speed_up(stage, trainer_settings(**OFF | {"cast_features": True}))
    assert {p.dtype for p in stage.losses.terms["perceptual"].backbone.parameters()} == {torch.float32}
    efficient = PerceptualLoss(EfficientNetLite0Features([0], weights="random"))
    efficient.cast(torch.bfloat16)
    assert {p.dtype for p in efficient.backbone.parameters()} == {torch.float32}


def test_channels_last_takes_the_hidden_backbone_along():
    """Breaks if the slow layout stays where it costs most."""
    stage = stage_with_features()
    speed_up(stage, trainer_settings(**OFF | {"channels_last": True}))
    for network in (stage.generator, stage.discriminator, stage.losses.terms["perceptual"].backbone):
        wide = [p for p in network.parameters() if p.ndim == 4 and p.shape[1] > 1]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*")  # the compiler's own
def test_compiled_networks_take_the_same_steps_under_the_same_names(monkeypatch):
    """Breaks if compiling renames weights, leaves a network out, or makes freezing D permanent."""
    compiled = []
    real = nn.Module.compile

    def compile_eagerly(module):
        compiled.append(type(module).__name__)
        real(module, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    stages = [stage_with_features(), stage_with_features()]
    keys = list(stages[0].state_dict())
    speed_up(stages[1], trainer_settings(**OFF, compile=True))
    for stage in stages:
        fit(stage, batches(2))
    assert compiled == ["RRDBNet", "VGGFeatures", "VGGDiscriminator"]
    assert list(stages[1].state_dict()) == keys
    torch.testing.assert_close(stages[1].state_dict(), stages[0].state_dict(), rtol=1e-7, atol=1e-9)
