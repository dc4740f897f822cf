"""``esrgan export``: a model in, a file for other programs out, or one line."""

import json

import pytest
import torch
from export_nets import net
from typed import esrgan

from esrgan_lightning.ops import write_image
from esrgan_lightning.weights import save_generator


@pytest.fixture
def model(tmp_path):
    save_generator(tmp_path / "net.safetensors", net("SRResNet"), metadata={"run": "mine"})
    return tmp_path / "net.safetensors"


def test_what_is_written_is_told_and_upscales(model, tmp_path):
    """From weights to an export to a picture, by two commands."""
    code, out, err = esrgan("export", model, "-o", tmp_path / "net.param", "--half")
    assert (code, err) == (0, "")
    assert out.startswith(
        f"written: {tmp_path / 'net.param'}, {tmp_path / 'net.bin'}: ncnn, 0.0 MB, at most "
    )
    assert out.endswith("from PyTorch (0.02 allowed)\n")
    write_image(tmp_path / "photo.png", torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8))
    assert esrgan("export", model, "-o", tmp_path / "net.onnx", "--no-check")[0] == 0
    code, out, err = esrgan(
        "upscale", tmp_path / "photo.png", "-m", tmp_path / "net.onnx", "-o", tmp_path / "out"
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "out/photo.png").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_models_own_provenance_goes_along(model, tmp_path):
    code, out, err = esrgan("export", model, "-o", tmp_path / "net.ts", "--no-check")
    assert (code, err) == (0, "")
    assert out.endswith("not compared with PyTorch\n")
    about = {"esrgan_lightning.json": ""}
    torch.jit.load(tmp_path / "net.ts", _extra_files=about)
    assert json.loads(about["esrgan_lightning.json"])["lineage"]["provenance"] == {"run": "mine"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.safetensors", "-o", "net.pth"], "`esrgan convert` writes weights"),
        (["net.safetensors", "-o", "net.png"], "an export ends in .onnx"),
        (["net.safetensors", "-o", "there.ts"], "there.ts exists: --overwrite replaces it"),
        (["net.safetensors", "-o", "there.ts/net.ts"], "cannot be written"),
        (["net.safetensors", "-o", "net.onnx", "--opset", "9"], "--opset 9: from 18 to 23"),
        (["missing.safetensors", "-o", "net.onnx"], "missing.safetensors: there is no such file"),
        (["net.safetensors", "-o", "net.onnx", "--scale", "3"], "scale=3 was asked for"),
    ],
)
def test_what_cannot_be_is_one_line(words, message, model, monkeypatch):
    monkeypatch.chdir(model.parent)
    (model.parent / "there.ts").write_text("")
    code, out, err = esrgan("export", *words)
    assert (code, out) == (2, "")
    assert err.startswith("esrgan export: ")
    assert message in err
    assert len(err.splitlines()) == 1
