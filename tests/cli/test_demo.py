"""The demo goes the whole way and leaves what it promises."""

import json

import pytest
import torch

from esrgan_lightning.cli import demo
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import TestPair
from esrgan_lightning.ops import read_image, write_image
from esrgan_lightning.ops.picture import pixels_as_squares


@pytest.mark.slow
def test_demo_leaves_summary_and_picture(tmp_path, monkeypatch, capsys):
    """Breaks if a stage, the hand-over between them, the blend, the table or the picture is missing."""
    monkeypatch.setattr(demo, "updates_within", lambda *_: 2)
    noise = torch.rand(3, 208, 304, generator=torch.Generator().manual_seed(0))
    for name in ("img_003", "img_005"):  # of which the picture shows crops
        write_image(tmp_path / f"sets/Set5/HR/{name}.png", (noise * 255).to(torch.uint8))
    run_dir = tmp_path / "runs with a space" / "demo"
    demo.run_demo(run_dir, minutes=1, sets_root=tmp_path / "sets")
    assert "the machine was busy" not in capsys.readouterr().out  # each stage made its two updates
    summary = json.loads((run_dir / "summary.json").read_text())
    assert set(summary) == {"convention", "results", "color_shift", "seconds"}
    assert set(summary["results"]) == {"set5", "photos"}
    for rows in summary["results"].values():
        assert set(rows) == {"bicubic", "psnr", "interp", "gan"}
        assert all(set(row) == {"psnr_y", "ssim_y", "lpips", "niqe"} for row in rows.values())
    picture = read_image(run_dir / "comparison.png")
    assert picture.shape[2] > 6 * demo.CROP * demo.ENLARGED
    assert picture.shape[1] > 4 * demo.CROP * demo.ENLARGED
    for name in ("psnr/generator.safetensors", "gan/generator.safetensors", "interp.safetensors"):
        assert (run_dir / name).is_file()


def test_the_verdict_says_what_was_missed():
    rows = {
        "bicubic": {"psnr_y": 28.42},
        "psnr": {"psnr_y": 29.4, "lpips": 0.25},
        "gan": {"psnr_y": 29.0, "lpips": 0.26},
    }
    gain, perceptual, color = demo.verdict({"set5": rows}, {"gan": 1.5})
    assert gain == "reached set5: PSNR stage +0.98 dB on bicubic (asked: 0.9 dB)"
    assert perceptual == "[red]missed[/]  set5: LPIPS 0.250 → 0.260 by the GAN stage (asked: less)"
    assert color == "[red]missed[/]  largest shift of a color 1.50 levels (asked: 1 level)"


def test_the_shift_of_a_color_is_measured_on_the_lr(tmp_path):
    """A model that paints everything 7 levels redder."""
    image = torch.full((3, 64, 64), 100, dtype=torch.uint8)
    write_image(tmp_path / "gray.png", image)

    def redder(lr):
        sr = pixels_as_squares(lr, 4)
        return torch.cat((sr[:1] + 7, sr[1:]))

    sets = {"photos": [TestPair(tmp_path / "gray.png", None)]}
    assert demo.largest_shift(redder, sets) == pytest.approx(7)


@pytest.mark.slow
def test_updates_are_counted_by_timing_a_few(tmp_path):
    """Breaks if the timing run does not end by itself, or leaves a run behind that stops the next one."""
    tiny = ["preset=demo", "generator.num_features=8", "generator.growth_channels=4", "data.num_workers=0"]
    few, many = (demo.updates_within(seconds, tiny, tmp_path / "timing") for seconds in (0.001, 100))
    assert few == 20 < many


def test_time_must_be_positive(tmp_path):
    with pytest.raises(InputError, match="--minutes 0 must be positive"):
        demo.run_demo(tmp_path, minutes=0, sets_root=None)
