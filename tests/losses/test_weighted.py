"""One map of weights names every term of the total."""

import math

import pytest
import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import (
    CharbonnierLoss,
    ConsistencyLoss,
    PerceptualLoss,
    SimilarityLoss,
    WeightedLoss,
)
from esrgan_lightning.networks.backbones import VGGFeatures

PAPER = {"perceptual": 1.0, "adversarial": 5e-3, "pixel": 1e-2}


class Explodes(nn.Module):
    def forward(self, sr, hr):
        raise AssertionError("a term of weight 0 was computed")


def pictures():
    return torch.full((2, 3, 4, 4), 0.75, requires_grad=True), torch.full((2, 3, 4, 4), 0.25)


def paper(weights=PAPER):
    terms = {"pixel": nn.L1Loss(), "perceptual": nn.MSELoss()}
    return WeightedLoss(terms, weights, given=["adversarial"])


def test_the_total_is_the_papers_sum_and_the_log_holds_each_terms_own_value():
    sr, hr = pictures()
    adversarial = torch.tensor(3.0, requires_grad=True)

    total, values = paper()(sr, hr, adversarial=adversarial)
    total.backward()

    assert total.item() == pytest.approx(1.0 * 0.25 + 5e-3 * 3.0 + 1e-2 * 0.5)
    assert {name: value.item() for name, value in values.items()} == pytest.approx(
        {"perceptual": 0.25, "adversarial": 3.0, "pixel": 0.5}
    )
    assert not any(value.requires_grad for value in values.values())
    assert adversarial.grad.item() == pytest.approx(5e-3)
    # d/dsr of 0.25-mean-square is 2·0.5/96, of 1e-2·L1 is 1e-2/96
    torch.testing.assert_close(sr.grad, torch.full_like(sr, (2 * 0.5 + 1e-2) / 96))


def test_a_term_of_weight_0_is_not_computed_and_not_asked_for():
    losses = WeightedLoss(
        {"pixel": nn.L1Loss(), "perceptual": Explodes()},
        {"pixel": 1, "perceptual": 0, "adversarial": 0.0},
        given=["adversarial"],
    )

    total, values = losses(*pictures())

    assert total.item() == pytest.approx(0.5)
    assert list(values) == ["pixel"]
    assert losses.needs("pixel")
    assert not losses.needs("adversarial")
    assert not losses.needs("unheard of")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            PAPER | {"percep": 1.0},
            "weights.percep=1.0: there is no such term.*pixel, perceptual, adversarial",
        ),
        ({"pixel": 1.0, "perceptual": 1.0}, "the term adversarial has no weight"),
        (PAPER | {"pixel": -1e-2}, "weights.pixel=-0.01"),
        (PAPER | {"pixel": math.nan}, "weights.pixel=nan"),
        (PAPER | {"pixel": math.inf}, "weights.pixel=inf"),
        (PAPER | {"pixel": "a lot"}, "weights.pixel=a lot"),
        (dict.fromkeys(PAPER, 0.0), "at least one has to be above 0"),
    ],
)
def test_a_wrong_map_of_weights_is_refused(weights, message):
    with pytest.raises(InputError, match=message):
        paper(weights)


def test_a_name_may_not_be_both_an_image_term_and_a_given_one():
    with pytest.raises(InputError, match="only once"):
        WeightedLoss({"pixel": nn.L1Loss()}, {"pixel": 1.0}, given=["pixel"])


def test_a_given_term_that_is_missing_or_unknown_is_a_defect_of_the_caller():
    """Breaks where a stage forgets the adversarial term and trains on without it."""
    with pytest.raises(TypeError, match="adversarial"):
        paper()(*pictures())
    with pytest.raises(TypeError, match="gan"):
        paper()(*pictures(), adversarial=torch.tensor(1.0), gan=torch.tensor(1.0))


@pytest.mark.parametrize(
    "loss",
    [
        WeightedLoss({"pixel": nn.L1Loss()}, {"pixel": 1.0}),
        CharbonnierLoss(),
        ConsistencyLoss(),
        PerceptualLoss(VGGFeatures("vgg16", ["conv1_1"], weights="random")),
        SimilarityLoss(nn.Identity()),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_broadcasting_is_refused(loss):
    """Torch's L1Loss would compare a batch of two with one picture after no more than a warning."""
    with pytest.raises(InputError, match="shapes have to be equal"):
        loss(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_terms_are_summed_in_float32_under_autocast_and_nan_is_not_hidden():
    sr, hr = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    losses = WeightedLoss({"pixel": nn.L1Loss()}, {"pixel": 1.0})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, values = losses(sr.bfloat16(), hr)
    assert total.dtype == values["pixel"].dtype == torch.float32
    torch.testing.assert_close(total, (sr.bfloat16().float() - hr).abs().mean(), rtol=1e-6, atol=0)
    assert losses(torch.full_like(hr, torch.nan), hr)[0].isnan()


def test_modules_move_with_the_loss_and_the_weights_stay_out_of_the_state():
    losses = WeightedLoss({"head": nn.PReLU()}, {"head": 1.0})
    assert list(losses.state_dict()) == ["terms.head.weight"]
    assert losses.double().terms["head"].weight.dtype == torch.float64
