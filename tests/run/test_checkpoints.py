"""Files that are whole or not there, the ring of the last ones, the best one."""

import os

import pytest
import torch
from by_hand import batches, fit, psnr_stage
from torch import nn

from esrgan_lightning.run.checkpoints import (
    BestCheckpoint,
    LastCheckpoint,
    WholeCheckpoints,
    damage,
    earlier_checkpoints,
)


def test_what_does_not_read_back_replaces_nothing(tmp_path, monkeypatch):
    """Breaks if a disk that returns other bytes costs the checkpoint before."""
    io, path = WholeCheckpoints(), tmp_path / "a.ckpt"
    io.save_checkpoint({"a": torch.zeros(2)}, path)
    before, sync = path.read_bytes(), os.fsync

    def rot(descriptor):
        os.pwrite(descriptor, b"\xff" * 8, 9000)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", rot)
    with pytest.raises(OSError, match="does not read back as it was written"):
        io.save_checkpoint({"a": torch.ones(4096)}, path)
    assert path.read_bytes() == before


def test_every_flipped_byte_of_a_tensor_is_seen(tmp_path):
    """Breaks if torch stops writing checksums, or they are not compared."""
    path = tmp_path / "a.ckpt"
    WholeCheckpoints().save_checkpoint({"a": torch.arange(64.0)}, path)
    whole = path.read_bytes()
    start = whole.index(torch.arange(64.0).numpy().tobytes())
    for at in range(start, start + 256, 17):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert "damaged" in damage(path)
    path.write_bytes(whole)
    assert damage(path) is None


@pytest.mark.parametrize(("keep", "left"), [(1, []), (2, [4]), (3, [4, 3]), (9, [4, 3, 2, 1])])
def test_the_ring_holds_the_last_ones(tmp_path, keep, left):
    """Breaks if the number of files grows, or the newest goes first."""
    last = LastCheckpoint(tmp_path, every=1, keep=keep)
    fit(psnr_stage(), batches(5), callbacks=[last], enable_checkpointing=True)
    assert [number for number, _ in earlier_checkpoints(tmp_path)] == left
    for number, path in earlier_checkpoints(tmp_path):
        assert torch.load(path, weights_only=True)["global_step"] == number
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 5


def test_an_old_one_goes_after_the_new_one_is_in_its_place(tmp_path, monkeypatch):
    """Breaks if at any rename or removal there are fewer whole checkpoints than are to be kept."""
    kept = []

    class Watched(WholeCheckpoints):
        def save_checkpoint(self, *arguments, **settings):
            super().save_checkpoint(*arguments, **settings)
            kept.append(len(list(tmp_path.glob("*.ckpt"))))

    last = LastCheckpoint(tmp_path, every=1, keep=2)
    fit(psnr_stage(), batches(5), callbacks=[last], enable_checkpointing=True, plugins=Watched())
    assert kept[:4] == [0, 1, 2, 2]


def best_of(folder, values, **settings):
    """The callback after a run whose validations, one an update, found these scores."""
    scores = iter(values)

    class Scores(nn.Module):
        def update(self, sr, hr):
            pass

        def log(self, stage):
            stage.log("val/psnr_y", next(scores))

    stage = psnr_stage()
    stage.validation = Scores()
    best, data = BestCheckpoint(folder, **settings), batches(len(values))
    fit(stage, data, validate=1, val_check_interval=1, callbacks=[best], enable_checkpointing=True)
    return best


def test_the_best_is_the_highest_and_alone(tmp_path):
    """Breaks if the best is the lowest, the latest, or one of many."""
    best_of(tmp_path, [20.0, 22.0, 21.0])
    assert [path.name for path in tmp_path.iterdir()] == ["best_update_0000002.ckpt"]


def test_of_equal_scores_the_earliest_stays(tmp_path):
    """Breaks if a score that is no better replaces a checkpoint."""
    assert best_of(tmp_path, [20.0, 20.5, 20.5, 20.25]).score == 20.5
    assert [path.name for path in tmp_path.iterdir()] == ["best_update_0000002.ckpt"]


def test_scores_that_are_no_numbers_are_never_the_best(tmp_path):
    """Breaks if a run whose first validation is NaN keeps that one for good."""
    inf = float("inf")
    best = best_of(tmp_path, [float("nan"), 20.0, float("nan"), inf, -inf, 21.0])
    assert [path.name for path in tmp_path.iterdir()] == ["best_update_0000006.ckpt"]
    assert best.state_dict() == {"monitor": "psnr_y", "score": 21.0}
    other = BestCheckpoint(tmp_path, monitor="ssim_y")
    other.load_state_dict(best.state_dict())
    assert other.score is None
    best.load_state_dict({"monitor": "psnr_y", "score": inf})  # as was written once
    assert best.score == 21.0


def test_of_a_metric_that_is_better_lower_the_lowest_is_the_best(tmp_path):
    """NIQE, RMSE or LPIPS as trainer.monitor kept the worst."""
    best = best_of(tmp_path, [5.0, 4.0, float("-inf"), 4.5], higher_is_better=False)
    assert best.score == 4.0
    assert [path.name for path in tmp_path.iterdir()] == ["best_update_0000002.ckpt"]
