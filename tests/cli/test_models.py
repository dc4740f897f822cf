"""``esrgan convert`` and ``esrgan inspect``, as typed."""

import json

import pytest
from typer.testing import CliRunner

from esrgan_lightning.cli.app import app
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights import load_generator, save_generator


@pytest.fixture
def model(tmp_path):
    net = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=3)
    origin = {"init": {"file": "psnr.ckpt"}, "interpolation": {"parents": [{"file": "a"}, {"file": "b"}]}}
    save_generator(tmp_path / "g.safetensors", net, metadata=origin)
    return tmp_path / "g.safetensors"


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_convert_writes_and_notes(model, tmp_path):
    done = run("convert", model, "-o", tmp_path / "g.pth", "--to", "esrgan2018")
    assert done.exit_code == 0, done.output
    assert "note: x3 and x2 look alike" in done.output
    assert load_generator(tmp_path / "g.pth", scale=3).scale == 3
    done = run("convert", model, "-o", tmp_path / "g.pth", "--to", "esrgan2018")
    assert (done.exit_code, "--overwrite" in done.output) == (2, True)
    assert run("convert", model, "-o", tmp_path / "g.pth", "--to", "esrgan2018", "--overwrite").exit_code == 0


def test_inspect_tells_network_and_origin(model):
    done = run("inspect", model)
    assert done.exit_code == 0, done.output
    for shown in (
        "RRDBNet (stated in the file)",
        "x3",
        "init.file",
        "psnr.ckpt",
        "interpolation.parents.1.file",
    ):
        assert shown in done.output
    found = json.loads(run("inspect", model, "--json").stdout)
    assert found["arguments"]["scale"] == 3


def test_what_is_no_model_is_one_line(tmp_path):
    (tmp_path / "g.onnx").write_bytes(b"x")
    done = run("inspect", tmp_path / "g.onnx")
    assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1)
