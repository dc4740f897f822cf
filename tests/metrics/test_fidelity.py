"""PSNR and SSIM against published figures, scikit-image and closed forms."""

import json
import math

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import psnr_rgb, psnr_y, rmse_rgb, rmse_y, ssim_rgb, ssim_y
from esrgan_lightning.ops import imresize, modcrop, read_image, to_float

ALL = [psnr_y, ssim_y, psnr_rgb, ssim_rgb]


def pair(batch=2, channels=3, side=40):
    generator = torch.Generator().manual_seed(1)
    hr = torch.randint(0, 256, (batch, channels, side, side), generator=generator)
    sr = (hr + torch.randint(-20, 21, hr.shape, generator=generator)).clamp(0, 255)
    return sr.to(torch.uint8), hr.to(torch.uint8)


@pytest.mark.parametrize("name", [f"{name}/x{scale}" for name in ("Set5", "Set14") for scale in (2, 3, 4)])
def test_bicubic_has_the_published_figures(shared, name):
    """Full-range or unrounded Y, another border, padded SSIM or pooled errors each miss these."""
    table = json.loads(shared("oracles/bicubic_psnr_ssim.json").read_text())[name]
    folder, scale = name.split("/x")
    scale = int(scale)
    psnr, ssim = [], []
    for image in table["images"]:
        hr = modcrop(read_image(shared(f"data/{folder}/HR/{image}.png")), scale)[None]
        sr = imresize(read_image(shared(f"data/{folder}/LRbicx{scale}/{image}.png")), scale)[None]
        psnr.append(psnr_y(sr, hr, scale).item())
        ssim.append(ssim_y(sr, hr, scale).item())
    assert psnr == pytest.approx(table["psnr_y"], abs=1e-3)
    assert ssim == pytest.approx(table["ssim_y"], abs=1e-5)
    assert np.mean(psnr) == pytest.approx(table["mean"]["psnr_y"], abs=1e-3)
    assert np.mean(ssim) == pytest.approx(table["mean"]["ssim_y"], abs=1e-5)


def ssim_of_scikit_image(sr, hr):
    """Of two planes, at positions where the whole window lies inside."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, values = structural_similarity(sr.astype(float), hr.astype(float), full=True, **options)
    return values[5:-5, 5:-5].mean()


def test_rgb_equals_scikit_image():
    sr, hr = pair()
    inner = [image[0, :, 3:-3, 3:-3].numpy() for image in (sr, hr)]
    assert psnr_rgb(sr, hr, 3)[0].item() == pytest.approx(
        peak_signal_noise_ratio(inner[1], inner[0]), abs=1e-9
    )
    expected = np.mean([ssim_of_scikit_image(*planes) for planes in zip(*inner, strict=True)])
    assert ssim_rgb(sr, hr, 3)[0].item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_y_equals_scikit_image_on_the_rounded_luma_of_bt601(scale):
    """A photo and its bicubic: full-range or unrounded Y, another border or a padded SSIM miss these."""
    hr = modcrop(torch.from_numpy(skimage.data.chelsea().copy()).permute(2, 0, 1), scale)
    sr = imresize(imresize(hr, 1 / scale), scale)
    inner = []
    for image in (sr, hr):
        red, green, blue = image[:, scale:-scale, scale:-scale].double().numpy()
        inner.append((16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255).round())
    psnr = peak_signal_noise_ratio(inner[1], inner[0], data_range=255)
    assert psnr_y(sr[None], hr[None], scale).item() == pytest.approx(psnr, abs=1e-9)
    assert ssim_y(sr[None], hr[None], scale).item() == pytest.approx(ssim_of_scikit_image(*inner), abs=1e-10)


def test_floats_are_rounded_to_eight_bits_first():
    """Without the rounding an error below half a level would be seen."""
    sr, hr = pair()
    near = to_float(sr, torch.float64) + 0.4 / 255
    for metric in ALL:
        assert torch.equal(metric(near, to_float(hr), 2), metric(sr, hr, 2))
    assert torch.equal(psnr_rgb(to_float(hr) + 5, to_float(hr), 2), psnr_rgb(torch.full_like(hr, 255), hr, 2))


@pytest.mark.parametrize("metric", ALL)
def test_one_figure_per_image_in_float64(metric):
    """Pooling the squared error over the batch is another quantity."""
    sr, hr = pair(batch=3)
    together = metric(sr, hr, 4)
    assert together.dtype is torch.float64
    alone = torch.cat([metric(sr[i : i + 1], hr[i : i + 1], 4) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_identical_images():
    _, hr = pair()
    assert psnr_y(hr, hr, 0).tolist() == [math.inf, math.inf]
    torch.testing.assert_close(ssim_y(hr, hr, 0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("metric", ALL)
def test_unequal_or_odd_shapes_are_refused_never_cropped(metric):
    sr, hr = pair()
    for bad_sr, bad_hr in ((sr[..., 1:], hr), (sr[:, :1], hr), (sr[:1], hr)):
        with pytest.raises(InputError, match="differ in shape"):
            metric(bad_sr, bad_hr, 2)
    with pytest.raises(InputError, match="1 or 3"):
        metric(sr[0], hr[0], 2)
    with pytest.raises(InputError, match="border"):
        metric(sr, hr, 20)


def test_ssim_of_less_than_a_window_is_refused():
    sr, hr = pair(side=14)
    with pytest.raises(InputError, match="11×11"):
        ssim_y(sr, hr, 2)


@pytest.mark.parametrize("metric", ALL)
def test_nan_is_refused(metric):
    sr, hr = (to_float(image) for image in pair())
    sr[0, 0, 20, 20] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        metric(sr, hr, 2)


@pytest.mark.parametrize(("rmse", "psnr"), [(rmse_y, psnr_y), (rmse_rgb, psnr_rgb)])
def test_rmse_is_psnr_in_levels(rmse, psnr):
    """The closed form 255 · 10^(−PSNR/20), image by image."""
    sr, hr = pair()
    torch.testing.assert_close(rmse(sr, hr, 4), 255 * 10 ** (-psnr(sr, hr, 4) / 20))
