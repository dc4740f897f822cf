"""Noise by its statistics."""

import pytest
import torch

from esrgan_lightning.data.degradations import BicubicNoise, gaussian_noise, poisson_noise
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gaussian_has_its_sigma_in_levels_and_no_mean():
    """Breaks if σ is taken for a variance, or is on the scale of [0,1]."""
    image = torch.full((3, 200, 200), 0.5)
    noise = (gaussian_noise(image, 12.0, gray=False, source=source()) - image) * 255
    assert noise.std().item() == pytest.approx(12, rel=0.01)
    assert abs(noise.mean().item()) < 0.15
    correlation = torch.corrcoef(noise.flatten(1))
    assert (correlation - torch.eye(3)).abs().max() < 0.02


def test_gray_noise_is_the_same_in_all_channels():
    image = torch.full((3, 64, 64), 0.5)
    for noisy in (
        gaussian_noise(image, 12.0, gray=True, source=source()),
        poisson_noise(image, 1.0, gray=True, source=source()),
    ):
        assert torch.equal(noisy[0], noisy[1])
        assert torch.equal(noisy[0], noisy[2])
        assert noisy.std() > 0.01


def test_noise_stays_within_the_range_of_an_image():
    for level in (0.0, 1.0):
        noisy = gaussian_noise(torch.full((3, 32, 32), level), 30.0, gray=False, source=source())
        assert 0 <= noisy.min() <= noisy.max() <= 1


@pytest.mark.parametrize(("levels", "photons"), [(3, 4), (4, 4), (5, 8), (130, 256)])
def test_poisson_variance_is_proportional_to_intensity(levels, photons):
    """Var = a² x / v, v the number of levels, rounded up to a power of two."""
    # Columns of equal levels; strength small enough that the clamp at 1 is far.
    row = torch.linspace(0, 130, levels).round().repeat_interleave(max(1, 130 // levels)) / 255
    image = row.expand(3, 3000, -1)
    strength = 0.3
    noise = poisson_noise(image, strength, gray=False, source=source()) - image
    bright = row > 0.2
    expected = strength**2 * row[bright] / photons
    measured = noise.var(dim=(0, 1))[bright]
    assert (measured / expected - 1).abs().max() < 0.12
    assert (measured / expected).mean().item() == pytest.approx(1, abs=0.02)
    assert noise.mean().abs() < 2e-3
    assert (noise[..., row == 0] == 0).all()  # no light, no noise


def test_bicubic_noise_is_bicubic_plus_noise_between_its_sigmas():
    hr = torch.full((40, 3, 128, 128), 128, dtype=torch.uint8)
    lr = BicubicNoise(sigma=(5, 20), gray_prob=0.5)(hr, torch.arange(40), 4)
    spread = lr.double().std(dim=(1, 2, 3))
    assert lr.dtype is torch.uint8
    assert 4.8 < spread.min() < 8
    assert 17 < spread.max() < 20.5
    gray = (lr[:, 0] == lr[:, 1]).all(-1).all(-1)
    assert 10 < gray.sum() < 30


def test_no_sigma_leaves_the_bicubic_image():
    hr = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=source())
    assert torch.equal(BicubicNoise(sigma=(0, 0))(hr, torch.arange(2), 4), imresize(hr, 1 / 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": (3, 1)}, r"degradation\.sigma=\[3, 1\] must be \[lowest,highest\], numbers of at least 0"),
        ({"sigma": (-1, 1)}, r"degradation\.sigma=\[-1, 1\]"),
        ({"sigma": (1,)}, r"degradation\.sigma=\[1\]"),
        ({"sigma": (1, float("nan"))}, r"degradation\.sigma"),
        ({"gray_prob": 1.5}, r"degradation\.gray_prob=1\.5 is a probability"),
        ({"seed": -1}, r"degradation\.seed=-1 must be in 0\.\."),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        BicubicNoise(**settings)
