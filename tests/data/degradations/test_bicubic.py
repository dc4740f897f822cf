"""Noise by its statistics, JPEG against libjpeg through OpenCV."""

import cv2
import pytest
import torch

from esrgan_lightning.data.degradations import (
    BicubicJpeg,
    BicubicNoise,
    gaussian_noise,
    jpeg_round_trip,
    poisson_noise,
)
from esrgan_lightning.data.sources import embedded_photos
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize, read_rgb, to_float, to_uint8


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
        ({"sigma": (1, float("nan"))}, r"degradation\.sigma"),
        ({"gray_prob": 1.5}, r"degradation\.gray_prob=1\.5 is a probability"),
        ({"seed": -1}, r"degradation\.seed=-1 must be in 0\.\."),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        BicubicNoise(**settings)


def libjpeg(image, quality):
    """uint8 (C,H,W) through a JPEG file by OpenCV, which has channels in the order BGR."""
    _, data = cv2.imencode(
        ".jpg", image.flip(0).permute(1, 2, 0).numpy(), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    pixels = torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
    return pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1).flip(0)


@pytest.fixture(scope="module")
def photo():
    """A photo's LR, its sides no multiple of 16 and one of them odd."""
    return imresize(read_rgb(embedded_photos()[0].hr)[:, :1000, :1000], 1 / 4)[:, :203, :214]


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_libjpegs_each_image_with_its_own_quality(photo, channels):
    qualities = [1, 20, 90, 55, 100]
    batch = to_float(photo[:channels])[None].expand(5, -1, -1, -1) * 1.5 - 0.25  # also beyond [0,1]
    found = jpeg_round_trip(batch, qualities)
    levels = to_uint8(batch[0])
    assert torch.equal(to_uint8(found), torch.stack([libjpeg(levels, quality) for quality in qualities]))
    assert torch.equal(found, to_float(to_uint8(found)))


def test_nothing_beyond_sixteen_pixels_is_felt(photo):
    """Breaks the margin of 18 (2 of them are the bicubic's) if the codec reaches further."""
    image = to_float(photo)[None]
    for top in range(40, 56, 3):
        inner = (..., slice(top, top + 30), slice(top + 1, top + 41))
        near = (..., slice(top - 16, top + 46), slice(top - 15, top + 57))
        other = torch.rand(image.shape, generator=torch.Generator().manual_seed(top))
        other[near] = image[near]
        assert torch.equal(jpeg_round_trip(image, [40])[inner], jpeg_round_trip(other, [40])[inner])


def test_degradation_is_bicubic_then_jpeg_and_reaches_both_ends_of_its_range():
    hr = read_rgb(embedded_photos()[1].hr)[None, :, :128, :128].expand(200, -1, -1, -1)
    lr = BicubicJpeg(quality=(40, 42))(hr, torch.arange(200), 4)
    small = to_float(imresize(hr[:1], 1 / 4))
    expected = [to_uint8(jpeg_round_trip(small, [q]))[0] for q in (40, 41, 42)]
    found = [sum(torch.equal(image, one) for image in lr) for one in expected]
    assert sum(found) == 200
    assert min(found) > 45


@pytest.mark.parametrize("quality", [(0, 50), (50, 101), (60, 50), (30.5, 60)])
def test_a_wrong_quality_is_named(quality):
    with pytest.raises(InputError, match=r"degradation\.quality=.*whole numbers in \[1, 100\]"):
        BicubicJpeg(quality=quality)
