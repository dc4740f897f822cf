"""NIQE's idea of natural: fitted by the book, kept in a file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import NIQE, NaturalModel, fit_niqe, niqe
from esrgan_lightning.metrics.niqe import _blocks
from esrgan_lightning.metrics.niqe_model import gaussian_of, load_model, save_model, shipped
from esrgan_lightning.ops import rgb_to_y


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
    metric = NIQE(model=tmp_path / "mine/model.safetensors")
    metric.update(photos[0])
    assert metric.compute() == niqe(photos[0], model=model)[0]
    assert metric.compute() != niqe(photos[0])[0]


def test_too_few_blocks_are_refused_with_the_least():
    with pytest.raises(InputError, match=r"24 sharp blocks of 96×96 pixels: 37 are the least"):
        fit_niqe([textured(0), textured(1)], sharpness=0)
    with pytest.raises(InputError, match="0 sharp blocks"):
        gaussian_of([])
    with pytest.raises(InputError, match="sharpness=75"):
        fit_niqe([textured(0)], sharpness=75)


def test_other_files_are_refused(tmp_path):
    save_file({"mean": torch.zeros(36)}, tmp_path / "part.safetensors")
    nan = NaturalModel(torch.full((36,), torch.nan, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    save_file(nan._asdict(), tmp_path / "nan.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name, message in (
        ("part.safetensors", "holds mean"),
        ("nan.safetensors", "holds covariance, mean"),
        ("text.safetensors", "cannot be read"),
        ("none.safetensors", "no such file"),
    ):
        with pytest.raises(InputError, match=f"{name}.*{message}.*fit-niqe"):
            load_model(tmp_path / name)
    with pytest.raises(InputError, match="ending"):
        save_model(tmp_path / "model.npz", shipped())
