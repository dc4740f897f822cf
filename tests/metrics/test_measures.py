"""The metrics by name: the mean over a validation's images, and that it is the figure of an evaluation."""

import pickle

import pytest
import torch
from torchmetrics import MetricCollection

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import METRICS, ValidationMetric, niqe, psnr_y
from esrgan_lightning.metrics.measures import load_networks

NAMES = ["psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "niqe", "rmse_y", "rmse_rgb", "lpips"]


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_a_validation_has_the_mean_of_an_evaluations_figures(name):
    """Breaks if a mean of batch means weighs a small last batch too much, or roots are averaged (PIRM)."""
    sr, hr = noise(3, 3, 104, 200), noise(3, 3, 104, 200, seed=1)
    network = load_networks([name], device="cpu")[name]
    figures = METRICS[name](sr, hr, 4, network)
    running = MetricCollection({"m": pickle.loads(pickle.dumps(ValidationMetric(name, 4)))})
    for part in (slice(2), slice(2, None)):
        running.update(sr=sr[part], hr=hr[part])
    expected = figures.square().mean().sqrt() if name.startswith("rmse") else figures.mean()
    torch.testing.assert_close(running.compute()["m"], expected)
    assert running["m"].higher_is_better is (name[:4] in ("psnr", "ssim"))
    assert list(running.state_dict()) == []  # a checkpoint must not grow by a network
    running.reset()
    running.update(sr=sr[:1], hr=hr[:1])
    torch.testing.assert_close(running.compute()["m"], figures[0])


def test_a_mean_with_identical_images_stays_finite():
    """A black validation picture made every mean infinite, and the first checkpoint the best for ever."""
    sr, hr = noise(1, 3, 20, 20), noise(1, 3, 20, 20, seed=1)
    mean = ValidationMetric("psnr_y", 0)
    for pair in ((hr, hr), (sr, hr)):
        mean.update(*pair)
    torch.testing.assert_close(mean.compute(), (100 + psnr_y(sr, hr, 0)[0]) / 2)


def test_a_mean_leaves_out_what_has_no_figure():
    """One flat validation picture made every mean NaN, and no checkpoint was ever the best."""
    images, mean = noise(3, 1, 192, 192), ValidationMetric("niqe", 0)
    flat = torch.full_like(images[:1], 90)
    for batch in (images[:2], torch.cat((flat, images[2:]))):
        mean.update(batch, batch)
    torch.testing.assert_close(mean.compute(), niqe(images).mean())
    mean.reset()
    mean.update(flat, flat)
    assert mean.compute().isnan()


def test_the_network_follows_the_metric():
    metric = ValidationMetric("lpips", 0).to("meta")
    assert next(metric._hidden[0].parameters()).is_meta


@pytest.mark.parametrize("name", [name for name, measure in METRICS.items() if measure.network])
def test_weights_that_are_missing_are_named(name):
    with pytest.raises(InputError, match=rf"metrics: {name}: .*nowhere\.(pth|mat)"):
        ValidationMetric(name, 4, weights="nowhere.mat" if name in ("ma", "pi") else "nowhere.pth")
