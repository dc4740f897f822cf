"""LPIPS, DISTS, Ma's score and PI: what network or forests are given, and what is made of the answer.

CI has no pyiqa, whose licence is noncommercial: a stand-in takes its place but in the last test.
"""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import nn

from esrgan_lightning.cli.evaluate import run
from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import niqe
from esrgan_lightning.metrics.perceptual import MaModel, dists, lpips, ma, pi
from esrgan_lightning.ops import imresize, rgb_to_y, write_image
from esrgan_lightning.run.build import build_metrics


class Difference(nn.Module):
    """In place of a network: the mean absolute difference, and what it was given."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, sr, hr):
        self.given = sr
        return self.scale * (sr - hr).abs().mean((1, 2, 3))


class Forests:
    """In place of pyiqa's NRQM: the mean luma over 25.5, and what it was given."""

    def __init__(self, *, test_y_channel, pretrained_model_path):
        assert not test_y_channel  # it is given luma
        if Path(pretrained_model_path).read_bytes() != b"forests":
            raise KeyError("model")

    def __call__(self, y):
        self.given = y
        return y.mean() / 25.5


@pytest.fixture
def weights(tmp_path, monkeypatch):
    for name in ("pyiqa", "pyiqa.archs", "pyiqa.archs.nrqm_arch"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["pyiqa.archs.nrqm_arch"].NRQM = Forests
    path = tmp_path / "NRQM_model.mat"
    path.write_bytes(b"forests")
    return path


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("function", [lpips, dists])
def test_the_network_sees_eight_bits_without_the_border(function):
    """Breaks where unrounded or uncropped pictures are compared, which gives other figures than papers'."""
    network = Difference()
    sr, hr = noise(2, 3, 20, 24), noise(2, 3, 20, 24, seed=1)
    found = function(sr / 255 + 0.4 / 255, hr, 4, network)
    assert torch.equal(network.given, sr[..., 4:-4, 4:-4] / 255)
    assert found.dtype is torch.float64
    expected = (sr.double() - hr.double()).abs()[..., 4:-4, 4:-4].mean((1, 2, 3)) / 255
    assert torch.allclose(found, expected, atol=1e-6)
    assert not found.requires_grad


def test_gray_is_repeated():
    network = Difference()
    lpips(noise(1, 1, 20, 24), noise(1, 1, 20, 24, seed=1), 0, network)
    assert network.given.shape == (1, 3, 20, 24)


def test_the_score_is_of_eight_bit_luma_without_the_border(weights):
    """Breaks where fractions, the border or other gray reach the forests: figures would not be PIRM's."""
    model, image = MaModel(weights), noise(2, 3, 60, 64)
    found = ma(image / 255 + 0.4 / 255, 4, model)
    expected = rgb_to_y(image[..., 4:-4, 4:-4], rounded=True)
    assert torch.equal(model._forests.given, expected[1:])
    assert found.dtype is torch.float64
    assert torch.allclose(found, expected.double().mean((1, 2, 3)) / 25.5)


def test_pi_is_that_of_its_parts(weights):
    image, model = noise(2, 3, 104, 200), MaModel(weights)
    assert pi(image, 4, model).tolist() == pytest.approx(
        ((10 - ma(image, 4, model) + niqe(image, 4)) / 2).tolist()
    )


def test_both_are_in_validation_evaluation_and_plane_by_name(weights, monkeypatch, capsys):
    files = ",".join(f"{{{name}:{{weights:'{weights}'}}}}" for name in ("ma", "pi"))
    built = build_metrics(compose(f"metrics=[{files}]"))
    assert [(metric.name, metric.crop, metric.higher_is_better) for metric in built.values()] == [
        ("ma", 4, True),
        ("pi", 4, False),
    ]
    picture = noise(3, 104, 200)
    write_image(weights.parent / "sets/one/HR/a.png", picture)
    monkeypatch.chdir(weights.parent)
    settings = ("root=sets", "sets=one", "metrics=ma", f"weights.ma={weights}", "plot=plane", "plane.y=pi")
    row = run(compose("models=bicubic", *settings, config="evaluate"))["one"]["bicubic"]
    sr, model = imresize(imresize(picture, 0.25), 4)[None], MaModel(weights)
    assert row["ma"] == ma(sr, 4, model).item()
    assert row["pi"] == pi(sr, 4, model).item()
    assert Path("evaluation_plane.png").is_file()
    assert "noncommercial" in capsys.readouterr().out


def test_the_licence_is_said(weights, caplog):
    MaModel(weights)
    assert "noncommercial" in caplog.text


def test_what_is_missing_is_named(weights, monkeypatch):
    with pytest.raises(InputError, match=r"give the file NRQM_model\.mat"):
        MaModel(None)
    with pytest.raises(InputError, match=r"other\.mat is no file"):
        MaModel(weights.with_name("other.mat"))
    with pytest.raises(InputError, match="48×48"):
        ma(noise(1, 3, 60, 50), 4, MaModel(weights))
    weights.write_bytes(b"something else")
    with pytest.raises(InputError, match="is no model of Ma's score"):
        MaModel(weights)
    monkeypatch.setitem(sys.modules, "pyiqa.archs.nrqm_arch", None)
    with pytest.raises(InputError, match=r"esrgan-lightning\[pi\]"):
        MaModel(weights)


def test_pyiqa_itself_reads_the_file_and_takes_what_it_is_given(tmp_path):
    """Forests that say 5 of everything, and 1 + (0.2 + 0.3 + 0.4)·5; breaks where pyiqa's interface does."""
    pytest.importorskip("pyiqa", reason="noncommercial: not in CI")
    leaf, none = np.array([[5.0]]), np.zeros((1, 1), np.int32)
    fields = [none, none, none, none, np.zeros((1, 1)), leaf, np.ones((1, 1), np.int32)]
    forest = np.empty((1, 1), [(name, object) for name in "abcdefg"])
    for name, value in zip("abcdefg", fields, strict=True):
        forest[name][0, 0] = value
    forests = np.empty((1, 3), object)
    forests[0] = [forest] * 3
    model = np.empty((1, 1), [("linear", object), ("rf", object)])
    model["linear"][0, 0], model["rf"][0, 0] = np.array([[1.0], [0.2], [0.3], [0.4]]), forests
    savemat(tmp_path / "model.mat", {"model": model})
    assert ma(noise(2, 3, 60, 64), 4, MaModel(tmp_path / "model.mat")).tolist() == pytest.approx([5.5, 5.5])
    (tmp_path / "model.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(InputError, match="is no model"):
        MaModel(tmp_path / "model.mat")
