"""``esrgan metrics``, as typed."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from esrgan_lightning.cli.app import app
from esrgan_lightning.metrics.niqe_model import load_model


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(8):
        pixels = generator.integers(0, 256, (200, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{index}.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "photos/small.png")
    return tmp_path / "photos"


def test_fit_niqe_writes_a_model_and_tells_what_it_left_out(photos, tmp_path):
    done = CliRunner().invoke(
        app, ["metrics", "fit-niqe", str(photos), "-o", str(tmp_path / "m.safetensors"), "--sharpness", "0"]
    )
    assert done.exit_code == 0, done.output
    assert "of 8 photos" in done.output
    assert "left out as smaller than 96×192: 1 of 9" in done.output
    assert load_model(tmp_path / "m.safetensors").covariance.shape == (36, 36)


def test_what_cannot_work_is_told_before_photos_are_read(photos, tmp_path):
    done = CliRunner().invoke(app, ["metrics", "fit-niqe", str(photos), "-o", str(tmp_path / "m.npz")])
    assert (done.exit_code, "ends in .safetensors" in done.output) == (2, True)
    done = CliRunner().invoke(app, ["metrics", "fit-niqe", str(tmp_path / "no"), "-o", "m.safetensors"])
    assert (done.exit_code, "no" in done.output) == (2, True)
