"""What is said, and kept for a look, when an update is not finite; what tells early that a run goes wrong."""

import json

import pytest
import torch
from by_hand import batches, fit, gan_stage, poisoned, psnr_stage
from safetensors import safe_open

from esrgan_lightning.run.callbacks import NonFiniteBatch
from esrgan_lightning.stages.base import color_shift
from esrgan_lightning.stages.faults import NonFiniteError

STAGES = pytest.mark.parametrize("make", [psnr_stage, gan_stage], ids=["psnr", "gan"])


def named(count):
    return [each | {"name": [f"a{n}", f"b{n}"]} for n, each in enumerate(batches(count))]


@STAGES
@pytest.mark.parametrize(
    ("how", "said"), [("loss", "loss term pixel (images a1, b1)"), ("gradient", "the gradient of generator.")]
)
def test_the_cause_is_named_and_the_batch_is_kept(make, how, said, tmp_path, caplog):
    """Breaks if the message names another term, update or image, or the file holds another batch."""
    data = named(3)
    fit(poisoned(make, [2], how), data, callbacks=[NonFiniteBatch(tmp_path)], precision="32-true")
    assert [path.name for path in tmp_path.iterdir()] == ["nonfinite_update_0000002.safetensors"]
    with safe_open(tmp_path / "nonfinite_update_0000002.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("0.hr"), data[1]["hr"])
        assert torch.equal(file.get_tensor("0.lr"), data[1]["lr"])
        assert set(file.keys()) == {"0.lr", "0.hr"}
        metadata = file.metadata()
    assert said in metadata["cause"]
    assert json.loads(metadata["names"]) == [["a1", "b1"]]
    (message,) = [record.message for record in caplog.records if "left out" in record.message]
    assert message.startswith(f"update 2: not finite: {said}")


def test_all_batches_of_an_accumulated_update_are_kept(tmp_path):
    """Breaks if the file holds the last batch alone, which may be the sound one."""
    stage = poisoned(psnr_stage, [3], "loss", accumulate=2)
    fit(stage, named(4), callbacks=[NonFiniteBatch(tmp_path)], precision="32-true")
    with safe_open(tmp_path / "nonfinite_update_0000002.safetensors", framework="pt") as file:
        assert set(file.keys()) == {"0.lr", "0.hr", "1.lr", "1.hr"}


@STAGES
@pytest.mark.parametrize(("at", "told"), [([2, 3, 4], "update 4: 3"), ([1], "update 1: 1")])
def test_a_row_of_them_is_told_once_and_the_last_one_names_the_cause(make, at, told, tmp_path):
    """Breaks if a diverged run fills the disk, ends without a cause, or loses its only update."""
    stage = poisoned(make, at, "loss", max_skipped=len(at))
    with pytest.raises(NonFiniteError, match=rf"{told} updates in a row .*\(not finite: loss term pixel"):
        fit(stage, named(5), callbacks=[NonFiniteBatch(tmp_path)], precision="32-true")
    assert [path.name for path in tmp_path.iterdir()] == [f"nonfinite_update_{at[0]:07d}.safetensors"]


def test_files_are_limited(tmp_path, caplog):
    """Breaks if every second update of a sick run leaves a file."""
    stage = poisoned(psnr_stage, [1, 3, 5, 7], "loss")
    fit(stage, named(8), callbacks=[NonFiniteBatch(tmp_path, most=2)], precision="32-true")
    assert len(list(tmp_path.iterdir())) == 2
    assert caplog.text.count("its batch not kept") == 2


def test_color_shift_is_the_mean_of_the_downscaled_picture_against_lr():
    """Breaks if a tint is measured in another channel, with another sign, or against HR."""
    lr = torch.rand(2, 3, 4, 4)
    sr = lr.repeat_interleave(2, -1).repeat_interleave(2, -2) + torch.tensor([0.25, 0.0, -0.5]).view(3, 1, 1)
    shift = color_shift(sr, lr)
    expected = torch.nn.functional.avg_pool2d(sr, 2) - lr
    for number, channel in enumerate("rgb"):
        value = shift[f"color_shift_{channel}"]
        torch.testing.assert_close(value, expected[:, number].mean())
    assert float(shift["color_shift_r"]) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "norms"),
    [(psnr_stage, {"train/grad_norm"}), (gan_stage, {"train/grad_norm_g", "train/grad_norm_d", "train/d_real",
                                                      "train/d_fake"})],
)  # fmt: skip
def test_signals_are_logged_by_both_stages(make, norms):
    """Breaks if a signal is missing, or the norm is that of clipped gradients."""
    stage = make(clip_norm=1e-9)
    metrics = fit(stage, batches(1)).callback_metrics
    assert norms | {f"train/color_shift_{channel}" for channel in "rgb"} <= set(metrics)
    assert all(metrics[name] > 1e-6 for name in norms if "norm" in name)
