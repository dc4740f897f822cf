"""``esrgan upscale``: files in, files out, nothing half-written and nothing overwritten by surprise."""

import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from esrgan_lightning import Upscaler
from esrgan_lightning.cli import upscale as command
from esrgan_lightning.cli.app import app
from esrgan_lightning.cli.upscale import targets
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_image, write_image
from esrgan_lightning.weights import save_generator


def noise(channels=3, height=7, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=2, init_scale=1.0)
    save_generator(tmp_path / "net.safetensors", net)
    return tmp_path / "net.safetensors"


@pytest.fixture
def photos(tmp_path):
    write_image(tmp_path / "photos/a.jpg", noise())
    write_image(tmp_path / "photos/trip/b.v2.png", noise(4))
    write_image(tmp_path / "photos/trip/gray.tif", noise(1).to(torch.int32).mul(257).to(torch.uint16))
    return tmp_path / "photos"


def run(*arguments):
    return CliRunner().invoke(app, ["upscale", *map(str, arguments)])


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_becomes_stem_png(model, photos, tmp_path):
    result = run(photos / "a.jpg", "-o", tmp_path / "out", "--model", model, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == ["a.png"]
    assert result.stdout.split() == [str(tmp_path / "out/a.png")]
    expected = Upscaler(model, device="cpu")(photos / "a.jpg")
    assert torch.equal(read_image(tmp_path / "out/a.png"), expected)


def test_a_folder_keeps_its_tree_depth_and_alpha(model, photos, tmp_path):
    result = run(photos, "-o", tmp_path / "out", "-m", model, "--suffix", "_x2", "--tile", 4, "--overlap", 40)
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == ["a_x2.png", "trip/b.v2_x2.png", "trip/gray_x2.png"]
    upscaler = Upscaler(model, tile=4, overlap=40)
    for source, target in (("trip/b.v2.png", "trip/b.v2_x2.png"), ("trip/gray.tif", "trip/gray_x2.png")):
        found, expected = read_image(tmp_path / "out" / target), upscaler(photos / source)
        assert found.dtype is expected.dtype
        assert torch.equal(found.to(torch.int32), expected.to(torch.int32))


def test_a_broken_file_is_named_and_the_rest_go_on(model, photos, tmp_path):
    good = (photos / "a.jpg").read_bytes()
    (photos / "broken.png").write_bytes(b"not an image")
    (photos / "cut.jpg").write_bytes(good[: len(good) // 2])
    result = run(photos, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert written(tmp_path / "out") == ["a.png", "trip/b.v2.png", "trip/gray.png"]
    lines = result.stderr.splitlines()
    assert [name for line in lines for name in ("broken.png", "cut.jpg") if name in line] == [
        "broken.png",
        "cut.jpg",
    ]
    assert lines[-1] == "esrgan upscale: 2 of 5 images failed"


@pytest.mark.parametrize("missing", ["model", "input", "folder"])
def test_what_is_missing_is_one_line_and_nothing_is_written(model, photos, tmp_path, missing):
    (tmp_path / "empty").mkdir()
    source = {"input": photos / "none.png", "folder": tmp_path / "empty"}.get(missing, photos / "a.jpg")
    weights = tmp_path / "none.safetensors" if missing == "model" else model
    result = run(photos / "trip", source, "-o", tmp_path / "out", "--model", weights)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("esrgan upscale: ")
    assert {"model": "none.safetensors", "input": "none.png", "folder": "empty"}[missing] in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_result_that_cannot_be_written_is_named_and_leaves_nothing(model, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/trip").write_text("a file where a folder should be")
    result = run(photos, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert "trip/gray.png cannot be written" in result.stderr
    assert written(tmp_path / "out") == ["a.png", "trip"]


def test_an_interrupted_write_leaves_the_old_result(model, photos, tmp_path, monkeypatch):
    """Half a picture under the final name would be taken for a whole one."""
    assert run(photos / "a.jpg", "-o", tmp_path / "out", "--model", model).exit_code == 0
    before = (tmp_path / "out/a.png").read_bytes()

    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run(photos / "a.jpg", "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert "a.png cannot be written: No space left on device" in result.stderr
    assert written(tmp_path / "out") == ["a.png"]
    assert (tmp_path / "out/a.png").read_bytes() == before


def test_an_image_too_large_for_the_memory_does_not_end_the_rest(model, photos, tmp_path, monkeypatch):
    """Nor does it get another image's pixels."""

    class Small(Upscaler):
        def upscale(self, image):
            if image.shape[0] == 4:
                raise InputError("7×6 LR pixels (H×W) are too many for the memory of cuda: set tile=")
            return super().upscale(image)

    monkeypatch.setattr(command, "Upscaler", Small)
    result = run(photos, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert "b.v2.png: 7×6 LR pixels" in result.stderr
    assert written(tmp_path / "out") == ["a.png", "trip/gray.png"]


def test_two_inputs_with_one_target_are_refused(model, photos, tmp_path):
    write_image(photos / "a.png", noise(seed=1))
    result = run(photos, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 2
    assert result.stderr.count("a.jpg") == result.stderr.count("a.png") - 1 == 1  # both, and the target
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="would both become"):
        targets([photos / "trip", tmp_path / "photos/trip/../a.jpg", photos / "a.png"], tmp_path / "out", "")


def test_a_file_named_twice_counts_once(photos, tmp_path):
    pairs = targets([photos / "a.jpg", photos, photos / "trip/../a.jpg"], tmp_path / "out", "")
    assert [source.name for source, _ in pairs] == ["a.jpg", "b.v2.png", "gray.tif"]


def test_no_input_is_written_over(photos, tmp_path):
    """Neither its own file nor that of another input."""
    with pytest.raises(InputError, match=r"would be written over .*b\.v2\.png"):
        targets([photos / "trip"], photos / "trip", "")
    earlier = tmp_path / "out/gray_x2.png"
    write_image(earlier, noise())
    with pytest.raises(InputError, match=r"gray\.tif would be written over .*gray_x2\.png"):
        targets([photos / "trip/gray.tif", earlier], tmp_path / "out", "_x2")
    assert targets([photos / "trip"], photos / "trip", "_x4")[0][1] == photos / "trip/b.v2_x4.png"


def test_earlier_results_inside_a_searched_folder_are_left_out(photos):
    """Else each run would enlarge the results of the one before."""
    out = photos / "large"
    first = targets([photos], out, "")
    write_image(out / "a.png", noise())
    assert targets([photos], out, "") == first
    write_image(photos / "trip/only/results/a.png", noise())
    with pytest.raises(InputError, match="no image outside"):
        targets([photos / "trip/only"], photos / "trip/only/results", "")


def test_settings_that_do_not_serve_are_refused(model, photos, tmp_path):
    for suffix in ("/../x", "a/b", "..\\x"):
        with pytest.raises(InputError, match="no part of a file's name"):
            targets([photos], tmp_path / "out", suffix)
    with pytest.raises(InputError, match="is a file: give a folder"):
        targets([photos], model, "")
    for option, value in (("--tile", 0), ("--overlap", -1), ("--device", "toaster"), ("--scale", 3)):
        result = run(photos, "-o", tmp_path / "out", "--model", model, option, value)
        assert result.exit_code == 2, option
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_progress_bar_stays_out_of_files(model, photos, tmp_path, monkeypatch, capfd):
    """With one stream a terminal and the other a file, rich would send both to the terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert command.upscale_files([photos / "a.jpg"], model, tmp_path / "out") == 0
    assert capfd.readouterr().out == f"{tmp_path / 'out/a.png'}\n"
