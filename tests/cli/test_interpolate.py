"""``esrgan interpolate``: two models in, their blend out, or one line."""

import pytest
import torch
from typer.testing import CliRunner

from esrgan_lightning import Upscaler, load_generator
from esrgan_lightning.cli.app import app
from esrgan_lightning.networks import RRDBNet, SRResNet
from esrgan_lightning.weights import read_generator_file, save_generator


def net(seed, **settings):
    torch.manual_seed(seed)
    return RRDBNet(num_features=4, num_blocks=1, growth_channels=2, **settings)


@pytest.fixture
def files(tmp_path):
    for seed, name in enumerate(("psnr", "gan")):
        save_generator(tmp_path / f"{name}.safetensors", net(seed), metadata={"run": name})
    return [tmp_path / "psnr.safetensors", tmp_path / "gan.safetensors"]


def run(*arguments):
    return CliRunner().invoke(app, ["interpolate", *map(str, arguments)])


@pytest.mark.parametrize("alpha", [None, 0, 0.3, 1])
def test_the_blend_lies_between_the_two(files, tmp_path, alpha):
    """0.8 of the GAN by default, as in the paper: the other way round it would be 0.2."""
    out = tmp_path / "new/mid.safetensors"
    result = run(*files, "-o", out, *([] if alpha is None else ["--alpha", alpha]))
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"written: {out}"
    share = 0.8 if alpha is None else alpha
    psnr, gan, mid = (load_generator(path).state_dict() for path in (*files, out))
    for name, tensor in mid.items():
        torch.testing.assert_close(tensor, (1 - share) * psnr[name] + share * gan[name], rtol=0, atol=1e-7)
    blend = read_generator_file(out).metadata["interpolation"]
    assert blend["alpha"] == share
    assert [parent["metadata"]["run"] for parent in blend["parents"]] == ["psnr", "gan"]
    assert Upscaler(out, device="cpu")(torch.zeros(3, 4, 4, dtype=torch.uint8)).shape == (3, 16, 16)


@pytest.mark.parametrize("alpha", ["-0.1", "1.5", "nan", "inf"])
def test_alpha_outside_of_0_to_1_is_one_line(files, tmp_path, alpha):
    result = run(*files, "--alpha", alpha, "-o", tmp_path / "mid.safetensors")
    assert result.exit_code == 2
    assert result.stderr.startswith("esrgan interpolate: ")
    assert f"alpha={alpha}" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "mid.safetensors").exists()


def other_files(tmp_path):
    save_generator(tmp_path / "wide.safetensors", net(0, in_channels=1))
    save_generator(tmp_path / "other.safetensors", SRResNet(num_features=4, num_blocks=1))
    (tmp_path / "broken.safetensors").write_bytes(b"broken")


@pytest.mark.parametrize("name", ["wide", "other", "broken", "missing"])
def test_another_network_or_no_file_is_one_line_that_names_it(files, tmp_path, name):
    other_files(tmp_path)
    result = run(files[0], tmp_path / f"{name}.safetensors", "-o", tmp_path / "mid.safetensors")
    assert result.exit_code == 2
    assert f"{name}.safetensors" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "mid.safetensors").exists()


def test_a_model_is_not_written_over_and_other_formats_are_refused(files, tmp_path):
    before = files[1].read_bytes()
    result = run(*files, "-o", files[1])
    assert result.exit_code == 2
    assert "is one of the two models" in result.stderr
    assert files[1].read_bytes() == before
    result = run(*files, "-o", tmp_path / "mid.pth")
    assert result.exit_code == 2
    assert ".safetensors" in result.stderr


def test_a_place_where_nothing_can_be_written_is_one_line(files, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(*files, "-o", tmp_path / "file/mid.safetensors")
    assert result.exit_code == 2
    assert "mid.safetensors cannot be written" in result.stderr
