"""NIQE against the authors' figures, and its idea of natural: fitted by the book, kept in a file."""

import json
import math
from importlib.resources import files

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import NaturalModel, ValidationMetric, fit_niqe, niqe
from esrgan_lightning.metrics.niqe import _blocks, load_model, save_model, shipped
from esrgan_lightning.ops import modcrop, read_image, rgb_to_y, to_float


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
    mean, covariance = shipped()
    assert mean.shape == (36,)
    assert torch.equal(covariance, covariance.T)
    assert torch.linalg.eigvalsh(covariance).min() > -1e-12
    note = files("esrgan_lightning.metrics").joinpath("NIQE_PRISTINE.md").read_text(encoding="utf-8")
    assert "The University of Texas at Austin" in note


def textured(seed, height=288, width=384):
    """Noise of a strength that differs from block to block."""
    generator = np.random.default_rng(seed)
    strength = generator.uniform(2, 60, (height // 96, width // 96)).repeat(96, 0).repeat(96, 1)
    values = 128 + strength * gaussian_filter(generator.normal(size=(height, width)), 0.7)
    return torch.from_numpy(values.clip(0, 255).astype(np.uint8))[None, None].expand(1, 3, -1, -1)


def test_blocks_are_chosen_by_the_book():
    """Breaks if blunt blocks count, or the sharpest is sought in all photos at once instead of in each."""
    photos = [textured(seed) for seed in range(30)]
    chosen = []
    for photo in photos:
        y = rgb_to_y(photo, rounded=True)[0, 0].numpy().astype(float)
        mean = gaussian_filter(y, 7 / 6, radius=3, mode="nearest")
        deviation = np.sqrt(np.abs(gaussian_filter(y**2, 7 / 6, radius=3, mode="nearest") - mean**2))
        sums = [
            deviation[top : top + 96, left : left + 96].sum()
            for top in range(0, 288, 96)
            for left in range(0, 384, 96)
        ]
        sharp = np.array(sums) >= 0.75 * max(sums)
        assert 0 < sharp.sum() < 12
        chosen.append(_blocks(photo, 0)[0][0].numpy()[sharp])
    features = np.concatenate(chosen)
    model = fit_niqe(iter(photos))
    np.testing.assert_allclose(model.mean, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(model.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)


def test_a_file_gives_the_same_figures(tmp_path):
    photos = [textured(seed) for seed in range(20)]
    model = fit_niqe(photos, sharpness=0)
    save_model(tmp_path / "mine/model.safetensors", model)
    again = load_model(tmp_path / "mine/model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(model, again, strict=True))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["model.safetensors"]
    metric = ValidationMetric("niqe", 0, tmp_path / "mine/model.safetensors")
    metric.update(photos[0], photos[0])
    assert metric.compute() == niqe(photos[0], model=model)[0]
    assert metric.compute() != niqe(photos[0])[0]


def test_too_few_blocks_are_refused_with_the_least():
    with pytest.raises(InputError, match=r"24 sharp blocks of 96×96 pixels: 37 are the least"):
        fit_niqe([textured(0), textured(1)], sharpness=0)
    with pytest.raises(InputError, match="0 sharp blocks"):
        fit_niqe([])
    with pytest.raises(InputError, match="sharpness=75"):
        fit_niqe([textured(0)], sharpness=75)


def test_other_files_are_refused(tmp_path):
    save_file({"mean": torch.zeros(36)}, tmp_path / "part.safetensors")
    nan = NaturalModel(torch.full((36,), torch.nan, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    save_file(nan._asdict(), tmp_path / "nan.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name, message in (
        ("part.safetensors", "holds mean: .*fit-niqe"),
        ("nan.safetensors", "holds covariance, mean"),
        ("text.safetensors", "not readable as weights"),
        ("none.safetensors", "no such file"),
    ):
        with pytest.raises(InputError, match=f"{name}.*{message}"):
            load_model(tmp_path / name)
