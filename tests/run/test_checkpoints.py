"""Files that are whole or not there, the ring of the last ones, the best one."""

import os

import pytest
import torch
from by_hand import batches, fit, psnr_stage
from torchmetrics import Metric

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

    class Score(Metric):
        def update(self, sr, hr):
            pass

        def compute(self):
            return torch.tensor(next(scores))

    best, stage = BestCheckpoint(folder, **settings), psnr_stage(metrics={"psnr_y": Score()})
    fit(stage, batches(len(values)), validate=1, val_check_interval=1, callbacks=[best],
        enable_checkpointing=True)  # fmt: skip
    return best


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "higher", "at"),
    [
        ([20.0, 22.0, 21.0], True, 2),
        ([20.0, 20.5, 20.5, 20.25], True, 2),  # of equal ones the earliest
        ([NAN, 20.0, NAN, INF, -INF, 21.0], True, 6),  # none that is not finite
        ([5.0, 4.0, -INF, 4.5], False, 2),
    ],
)
def test_the_best_is_the_best_and_alone(tmp_path, values, higher, at):
    """Breaks if a run keeps the worst, the latest, one of many, or for good one that no other can surpass."""
    best = best_of(tmp_path, values, higher_is_better=higher)
    assert [path.name for path in tmp_path.iterdir()] == [f"best_update_{at:07d}.ckpt"]
    assert best.state_dict() == {"monitor": "psnr_y", "score": values[at - 1]}


def test_a_score_by_another_metric_says_nothing(tmp_path):
    """Breaks if a run that goes on by ssim_y has to surpass a PSNR, or a score that was no number."""
    other, same = BestCheckpoint(tmp_path, monitor="ssim_y"), BestCheckpoint(tmp_path)
    for score, expected in ((21.0, 21.0), (INF, 21.0)):  # as was written once
        for each in (other, same):
            each.load_state_dict({"monitor": "psnr_y", "score": score})
        assert (other.score, same.score) == (None, expected)
