"""LPIPS and DISTS as losses, against the metrics, which tests/networks holds to other programs."""

import pytest
import torch

from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.losses.similarity import dists_loss, lpips_loss
from esrgan_lightning.metrics import perceptual
from esrgan_lightning.run.build import build_losses

MAKERS = {"lpips": lpips_loss, "dists": dists_loss}


@pytest.fixture
def files(untrained):
    return {"lpips": untrained("alexnet"), "dists": untrained("vgg16")}


@pytest.fixture
def pair():
    """Pictures of whole 8-bit levels, so that the metric's rounding changes nothing."""
    levels = torch.randint(0, 256, (2, 2, 3, 48, 56), generator=torch.Generator().manual_seed(0))
    return levels / 255


@pytest.mark.parametrize("name", MAKERS)
def test_the_loss_is_the_metrics_mean(name, files, pair):
    """Breaks if the loss takes another range, another normalisation or a sum."""
    loss = MAKERS[name](weights=files[name])
    network = loss.backbone
    for sr, hr in (pair, pair[:, :, :1]):  # and gray
        expected = getattr(perceptual, name)(sr, hr, 0, network).mean().item()
        assert expected > 1e-3
        assert loss(sr, hr).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_gradient_goes_downhill_and_to_sr_alone(name, files, pair):
    """Breaks if the picture is rounded, cropped or detached on the way, or the network is trained along."""
    loss = MAKERS[name](weights=files[name])
    sr, hr = (each.clone().requires_grad_() for each in pair)
    before = loss(sr, hr)
    before.backward()
    assert hr.grad is None
    assert (sr.grad[..., 0, :] != 0).any()  # the border counts
    step = 1e-3 * sr.grad / sr.grad.norm()
    assert loss(sr - step, hr).item() < before.item()
    assert [*loss.parameters(), *loss.state_dict()] == []


@pytest.mark.parametrize("name", MAKERS)
def test_mixed_precision_does_not_reach_it(name, files, pair):
    loss = MAKERS[name](weights=files[name])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(*pair), loss(*pair).float())
        mixed = loss(*pair)
    assert torch.equal(mixed, loss(*pair))


def test_what_does_not_fit_is_refused(files):
    small = torch.zeros(1, 3, 24, 24)
    with pytest.raises(InputError, match=r"24×24.*needs 31"):
        lpips_loss(weights=files["lpips"])(small, small)


def test_the_configuration_builds_both_by_their_names(files, pair):
    """Breaks if a name in conf/, the weight's or a key of the factory is another."""
    cfg = compose(
        "loss/lpips=alex",
        "loss/dists=vgg",
        *(f"loss.{name}.weights={file}" for name, file in files.items()),
        "loss.weights.pixel=0",
        "loss.weights.lpips=2",
        "loss.weights.dists=0.5",
    )
    total, values = build_losses(cfg.loss, adversarial=False)(*pair)
    assert set(values) == {"lpips", "dists"}
    assert total.item() == pytest.approx(2 * values["lpips"].item() + 0.5 * values["dists"].item())
