"""What a run leaves beside its weights: checkpoints, sample pictures, the exported generator, a verdict."""

from types import SimpleNamespace

import pytest
import torch
from by_hand import batches, fit, gan_stage, psnr_stage
from pytorch_lightning.callbacks import Callback
from torch import nn

from esrgan_lightning.ops import imresize, read_image, to_uint8
from esrgan_lightning.ops.cores import OtherWork
from esrgan_lightning.ops.picture import GAP
from esrgan_lightning.run.callbacks import (
    Export,
    Forecast,
    RankAgreement,
    SampleGrid,
    Throughput,
    ValidateAtEnd,
)
from esrgan_lightning.run.checkpoints import LastCheckpoint
from esrgan_lightning.weights import load_generator, read_generator_file
from esrgan_lightning.weights.state import state_hash

STAGES = pytest.mark.parametrize("make", [psnr_stage, gan_stage], ids=["psnr", "gan"])


class Count(Callback):
    """The updates after which a validation ran, and what lay on disk after each batch."""

    def __init__(self, watched=None):
        self.validated, self.watched, self.saved = [], watched, []

    def on_validation_end(self, trainer, *_):
        self.validated.append(trainer.global_step)

    def on_train_batch_end(self, trainer, *_):
        if self.watched is not None and self.watched.exists():
            self.saved.append(torch.load(self.watched, weights_only=True)["global_step"])
        else:
            self.saved.append(None)


@STAGES
def test_last_checkpoint_at_each_interval_and_at_the_end(make, tmp_path):
    """Breaks if the interval counts small batches or optimiser steps, or the end is not saved."""
    last = LastCheckpoint(tmp_path, every=2)
    watch = Count(tmp_path / "last.ckpt")
    fit(make(accumulate=2), batches(10), callbacks=[last, watch], enable_checkpointing=True)
    # Looked at before the checkpoint of the same batch, as checkpoints come last.
    assert watch.saved == [None, None, None, None, 2, 2, 2, 2, 4, 4]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 5


@STAGES
@pytest.mark.parametrize(("updates", "interval"), [(5, 2), (4, 2), (3, 100)])
def test_the_last_update_is_validated_once(make, updates, interval):
    """Breaks if a run whose length is no multiple of the interval ends without a figure, or has two."""
    count, end = Count(), ValidateAtEnd()
    fit(make(), batches(updates), validate=1, val_check_interval=interval, callbacks=[count, end],
        check_val_every_n_epoch=None)  # fmt: skip
    assert count.validated == [*range(interval, updates, interval), updates]


def test_sample_pictures_show_lr_bicubic_sr_hr_of_the_same_crop(tmp_path):
    """Breaks if the crops of the four columns are not the same place, or a column shows something else."""
    stage, size = psnr_stage(), 24
    fit(stage, batches(1), validate=3, val_check_interval=1, precision="32-true",
        callbacks=[SampleGrid(tmp_path, count=2, size=size)])  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["update_0000001.png"]
    picture = read_image(tmp_path / "update_0000001.png")
    column = (picture.shape[-1] - GAP) // 4 - GAP
    tops = [picture.shape[-2] - (size + GAP) * row for row in (2, 1)]
    assert tops[0] > GAP  # two rows and a header, no third row
    assert tops[0] < size + GAP
    for top, image in zip(tops, batches(3, size=1), strict=False):
        lr, hr = to_uint8(image["lr"][0]), to_uint8(image["hr"][0])
        with torch.no_grad():
            sr = to_uint8(stage(image["lr"])[0].clamp(0, 1))
        nearest = lr.repeat_interleave(2, -2).repeat_interleave(2, -1)
        at = (32 - size) // 2  # the middle of 32 × 32
        for number, expected in enumerate((nearest, imresize(lr, 2), sr, hr)):
            left = GAP + number * (column + GAP) + (column - size) // 2
            tile = picture[:, top : top + size, left : left + size]
            assert torch.equal(tile, expected[:, at : at + size, at : at + size]), number


def test_sample_crops_of_small_images_are_whole(tmp_path):
    """Breaks if an image smaller than the crop raises, or is cut to nothing."""
    fit(
        psnr_stage(), batches(1), validate=1, val_check_interval=1, callbacks=[SampleGrid(tmp_path, size=128)]
    )
    assert read_image(tmp_path / "update_0000001.png").shape[-2] < 2 * 32


@STAGES
def test_exported_generator_is_the_average_and_needs_nothing_else(make, tmp_path):
    """Breaks if a user gets the raw weights, or a file that does not say what it is and where from."""
    stage = make(ema_decay=0.5, provenance={"config_hash": "abc"})
    fit(stage, batches(3), callbacks=[Export(tmp_path)])
    loaded = load_generator(tmp_path / "generator.safetensors")
    assert not loaded.training
    assert loaded.scale == 2
    for name, value in stage.ema.module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.float(), rtol=0, atol=0)
    assert not torch.equal(loaded.conv_last.weight, stage.generator.conv_last.weight.float())
    file = read_generator_file(tmp_path / "generator.safetensors")
    assert file.metadata == {"config_hash": "abc", "updates": 3}


def test_a_killed_run_has_left_a_generator(tmp_path):
    """Breaks if the model is written at the end only."""
    path = tmp_path / "generator.safetensors"

    class Kill(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 2:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(psnr_stage(), batches(3), validate=1, val_check_interval=1, callbacks=[Export(tmp_path), Kill()])
    assert read_generator_file(path).metadata["updates"] == 2


def agreement(monkeypatch, module, others, world=2):
    def gather(into, mine):
        into[:] = [mine, *(other or mine for other in others)]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    trainer = SimpleNamespace(world_size=world, is_global_zero=True)
    RankAgreement().on_train_end(trainer, module)


def test_ranks_that_differ_are_an_error(monkeypatch):
    """Breaks if a DDP run whose processes trained apart ends as if nothing had happened."""
    with pytest.raises(RuntimeError, match=r"parameters differ.*0123"):
        agreement(monkeypatch, nn.Linear(1, 1), ["0123"])


def test_ranks_that_agree_are_logged(monkeypatch, caplog):
    """Breaks if nobody can see that the check was made."""
    module = nn.Linear(1, 1)
    with caplog.at_level("INFO"):
        agreement(monkeypatch, module, [None])
    assert f"equal on all 2 ranks: sha256 {state_hash(module.state_dict())}" in caplog.text


def test_throughput_counts_images_and_the_time_spent_waiting(monkeypatch):
    """Breaks if batches are shown as images, or a rate or a share is of another span of time than its own."""
    clock = iter(range(100))  # each look at it is a second later
    waited = iter([2.0, 2.0, 2.25, 3.0, 3.5])  # at the start, then after each batch
    monkeypatch.setattr("esrgan_lightning.run.callbacks.time.perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr("esrgan_lightning.run.callbacks._waited", lambda trainer: next(waited))
    trainer = fit(psnr_stage(), batches(4), callbacks=[Throughput(16)], log_every_n_steps=2)
    # 2 batches of 16 in 2 looks at the clock
    assert trainer.callback_metrics["images_per_second"] == 16.0
    assert trainer.callback_metrics["data_wait_share"] == pytest.approx((3.5 - 2.25) / 2)
    assert trainer.callback_metrics["train/lr"] == pytest.approx(1e-3)


def test_other_work_on_the_cores_is_told_with_what_to_do(tmp_path, monkeypatch, caplog):
    """Breaks if a run that is three times too slow says nothing, or one that has its cores does."""
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr("esrgan_lightning.run.callbacks.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("esrgan_lightning.run.callbacks.os.cpu_count", lambda: 2)
    monkeypatch.setattr("esrgan_lightning.run.callbacks.torch.get_num_threads", lambda: 2)
    for others, says in ((0.7, ["other work takes 0.7 of 2 cores"]), (0.2, [])):
        monkeypatch.setattr(OtherWork, "cores", lambda self, others=others: others)
        caplog.clear()
        with caplog.at_level("INFO"):
            fit(psnr_stage(), batches(4), callbacks=[Forecast(tmp_path, keep=3)])
        told = [each for each in caplog.messages if "other work" in each]
        assert [each.partition(", and")[0] for each in told] == says
        assert all("OMP_NUM_THREADS=1 before" in each for each in told)


def test_a_run_says_what_it_takes_and_how_long(tmp_path, monkeypatch, caplog):
    """Breaks if the time is that of the first update, told too often, or days on a processor go unsaid."""
    clock = iter(range(0, 10**9, 3600))  # an hour for each update
    monkeypatch.setattr("esrgan_lightning.run.callbacks.time.monotonic", lambda: next(clock))
    stage = gan_stage()
    with caplog.at_level("INFO"):
        for smaller in ("give preset=demo", ""):
            fit(stage, batches(4), callbacks=[Forecast(tmp_path, keep=3, smaller=smaller)], max_steps=100)
    first, told, _, again = [each for each in caplog.messages if "memory" in each or "to go" in each]
    for name in ("generator", "discriminator"):
        learnt = sum(p.numel() for p in getattr(stage, name).parameters()) / 1e6
        assert f"{name}: {learnt:.3g} M parameters · " in first
    assert "up to 4 checkpoints of" in first
    assert told == (
        "98 updates to go at 3.6e+03 s each: 4 days 2 h without validations on cpu; give preset=demo"
    )
    assert again.endswith("on cpu")
