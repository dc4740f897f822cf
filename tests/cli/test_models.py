"""``esrgan convert``, ``inspect``, ``export`` and ``metrics fit-niqe``, as typed."""

import json

import numpy as np
import pytest
import torch
from export_nets import net
from PIL import Image
from typed import esrgan

from esrgan_lightning.metrics.niqe import load_model
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import write_image
from esrgan_lightning.weights import load_generator, save_generator


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rrdb = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=3)
    before = {"file": "psnr.ckpt", "metadata": {"run": "old", "init": {"file": "start.pth"}}}
    origin = {"init": before, "interpolation": {"parents": [{"file": "a"}, {"file": "b"}]}}
    save_generator(tmp_path / "g.safetensors", rrdb, metadata=origin)
    save_generator(tmp_path / "net.safetensors", net("SRResNet"), metadata={"run": "mine"})
    return "g.safetensors"


def test_convert_writes_and_notes(model):
    words = ("convert", model, "-o", "g.pth", "--to", "esrgan2018")
    code, _, told = esrgan(*words)
    assert (code, "note: x3 and x2 look alike" in told) == (0, True)
    assert load_generator("g.pth", scale=3).scale == 3
    code, _, told = esrgan(*words)
    assert (code, "--overwrite" in told) == (2, True)
    assert esrgan(*words, "--overwrite")[0] == 0


def test_inspect_tells_network_and_origin(model):
    code, out, _ = esrgan("inspect", model)
    assert code == 0
    origin = ("init.file", "psnr.ckpt", "interpolation.parents.1.file")
    for shown in ("RRDBNet (stated in the file)", "x3", *origin, "init.trained from", "start.pth"):
        assert shown in out
    assert "old" not in out  # what an ancestor's file says of itself is for --json
    assert json.loads(esrgan("inspect", model, "--json")[1])["arguments"]["scale"] == 3


def test_an_export_is_told_and_upscales(model):
    """From weights to an export to a picture, by two commands."""
    code, out, err = esrgan("export", "net.safetensors", "-o", "net.param", "--half")
    assert (code, err) == (0, "")
    assert out.startswith("written: net.param, net.bin: ncnn, 0.0 MB, at most ")
    assert out.endswith("from PyTorch (0.02 allowed)\n")
    write_image("photo.png", torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8))
    assert esrgan("export", "net.safetensors", "-o", "net.onnx", "--no-check")[0] == 0
    code, out, err = esrgan("upscale", "photo.png", "-m", "net.onnx", "-o", "out")
    assert (code, out, err) == (0, "out/photo.png\n", "")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_models_own_provenance_goes_along(model):
    code, out, err = esrgan("export", "net.safetensors", "-o", "net.ts", "--no-check")
    assert (code, err) == (0, "")
    assert out.endswith("not compared with PyTorch\n")
    about = {"esrgan_lightning.json": ""}
    torch.jit.load("net.ts", _extra_files=about)
    assert json.loads(about["esrgan_lightning.json"])["lineage"]["provenance"] == {"run": "mine"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("inspect g.onnx", "g.onnx"),
        ("export net.safetensors -o net.pth", "`esrgan convert` writes weights"),
        ("export net.safetensors -o net.png", "an export ends in .onnx"),
        ("export net.safetensors -o there.ts", "there.ts exists: --overwrite replaces it"),
        ("export net.safetensors -o there.ts/net.ts", "cannot be written"),
        ("export net.safetensors -o net.onnx --opset 9", "--opset 9: from 18 to 23"),
        ("export net.safetensors -o net.onnx --scale 3", "scale=3 was asked for"),
        ("metrics fit-niqe none -o m.safetensors", "none"),
        ("metrics fit-niqe . -o m.npz", "ends in .safetensors"),
    ],
)
def test_what_cannot_be_is_one_line(words, message, model, tmp_path):
    (tmp_path / "there.ts").write_text("")
    (tmp_path / "g.onnx").write_bytes(b"x")
    code, out, err = esrgan(*words.split())
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("esrgan ")
    assert message in err


def test_fit_niqe_writes_a_model_and_tells_what_it_left_out(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(8):
        pixels = generator.integers(0, 256, (200, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{index}.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "photos/small.png")
    path = tmp_path / "m.safetensors"
    code, out, told = esrgan("metrics", "fit-niqe", tmp_path / "photos", "-o", path, "--sharpness", 0)
    assert (code, "of 8 photos" in out) == (0, True)
    assert "left out as smaller than 96×192: 1 of 9" in told
    assert load_model(path).covariance.shape == (36, 36)
