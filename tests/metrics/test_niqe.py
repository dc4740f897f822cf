"""NIQE against the authors' figures, and the closed forms of its parts."""

import json
import math
from importlib.resources import files

import numpy as np
import pytest
import skimage.data
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import NIQE, niqe, niqe_model
from esrgan_lightning.ops import modcrop, read_image, to_float


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_equals_the_reference_on_textured_images(shared):
    for name, expected in json.loads(shared("oracles/niqe.json").read_text()).items():
        folder, image = name.split("_x4HR_")
        hr = modcrop(read_image(shared(f"data/{folder}/HR/{image}.png")), 4)
        assert niqe(hr[None]).item() == pytest.approx(expected["niqe_y"], abs=1e-3), name


def test_equals_the_authors_program_on_baboon(shared):
    """5.72957338: published for the authors' program in MATLAB R2021a, Set14's baboon, luma, no border."""
    image = read_image(shared("data/Set14/HR/img_001.png"))
    assert niqe(image[None]).item() == pytest.approx(5.72957338, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("chelsea", 2.625518), ("grass", 6.346673), ("gravel", 4.229904), ("brick", 9.997995)],
)
def test_equals_pyiqa_on_packaged_photos(name, expected):
    """The ``niqe`` of pyiqa 0.1.16 with the authors' model, on the rounded luma of BT.601."""
    photo = torch.from_numpy(np.atleast_3d(getattr(skimage.data, name)())).permute(2, 0, 1)
    assert niqe(photo.expand(3, -1, -1)[None]).item() == pytest.approx(expected, abs=1e-3)


def test_batches_depths_and_borders_agree():
    image = noise(2, 3, 200, 216)
    both = niqe(image, 4)
    assert both.dtype is torch.float64
    assert both.shape == (2,)
    alone = torch.cat([niqe(image[i : i + 1, :, 4:-4, 4:-4]) for i in range(2)])
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-9)
    torch.testing.assert_close(niqe(to_float(image), 4), both, rtol=0, atol=1e-9)


def test_flat_images_have_no_figure():
    """Not 0, which would be the best of all."""
    assert niqe(torch.full((1, 3, 192, 192), 90, dtype=torch.uint8)).isnan().all()


def test_a_mean_leaves_out_what_has_no_figure():
    """One flat validation picture made every mean NaN, and no checkpoint was ever the best."""
    images, mean = noise(3, 1, 192, 192), NIQE()
    flat = torch.full_like(images[:1], 90)
    for batch in (images[:2], torch.cat((flat, images[2:]))):
        mean.update(batch)
    torch.testing.assert_close(mean.compute(), niqe(images).mean())
    mean.reset()
    mean.update(flat)
    assert mean.compute().isnan()


@pytest.mark.parametrize(("height", "width", "crop"), [(95, 400, 0), (96, 191, 0), (100, 200, 8)])
def test_too_small_images_are_refused_with_the_smallest_size(height, width, crop):
    with pytest.raises(InputError, match="96×192"):
        niqe(noise(1, 3, height, width), crop)


def test_wrong_shapes_and_nan_are_refused():
    with pytest.raises(InputError, match="1 or 3"):
        niqe(noise(3, 192, 192))
    with pytest.raises(ValueError, match="NaN"):
        niqe(torch.full((1, 3, 192, 192), math.nan))


def test_the_pristine_model_is_a_covariance_and_carries_its_notice():
    mean, covariance = niqe_model.shipped()
    assert mean.shape == (36,)
    assert torch.equal(covariance, covariance.T)
    assert torch.linalg.eigvalsh(covariance).min() > -1e-12
    note = files("esrgan_lightning.metrics").joinpath("NIQE_PRISTINE.md").read_text(encoding="utf-8")
    assert "The University of Texas at Austin" in note
