"""A run that is killed, over and over, at moments that nobody chose."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import tiny
import torch

from esrgan_lightning.ops import write_image

INTERVAL = 3
STAGES = {"psnr": ("stage=psnr", *tiny.PSNR), "gan": ("stage=gan", "init=null", *tiny.GAN)}


@pytest.mark.parametrize(
    ("signum", "stage", "workers", "kills"),
    [
        pytest.param("SIGKILL", "psnr", 0, 15, marks=pytest.mark.slow),
        *(
            pytest.param(signum, stage, workers, 50, marks=pytest.mark.long)
            for signum in ("SIGKILL", "SIGTERM", "SIGINT")
            for stage in STAGES
            for workers in (0, 2)
        ),
    ],
)
def test_kills_cost_an_interval_at_most_and_change_nothing(tmp_path, signum, stage, workers, kills):
    """A signal that a run can answer costs nothing.

    Breaks if a file is written under its final name, or an old checkpoint goes before the new is whole.

    Or if a loader process ends a run that would have saved; if a state cannot be read, or a run that was
    broken off trains on anything else.
    """
    for number in range(4):
        image = torch.randint(
            256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(number)
        )
        write_image(tmp_path / f"photos/{number}.png", image)
    settings = (
        *STAGES[stage], "data=folder", f"data.train_dir={tmp_path / 'photos'}", "data.val_count=1",
        "trainer.precision=32", "stage.ema_decay=0.9", "trainer.max_updates=20", "trainer.val_interval=5",
        f"trainer.checkpoint_interval={INTERVAL}", f"data.num_workers={workers}",
    )  # fmt: skip
    helper = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, helper, tmp_path, "0", str(kills), signum, *settings],
        text=True,
        capture_output=True,
        timeout=40 * kills,
    )
    assert done.returncode == 0, done.stderr
    attempts = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(each["killed"] for each in attempts) == kills
    # Some died before their first update, and some of those that went on had to repeat updates.
    assert any(each["from"] > 0 for each in attempts)
    far = 0
    for before, after in pairwise(attempts):
        far = max(far, before["reached"])
        if before["run"] != after["run"]:
            far = 0
        elif after["started"]:
            lost = 0 if before["saved"] and before["started"] else INTERVAL
            assert after["from"] >= far - lost, (before, after)
    runs = {each["run"] for each in attempts if not each["killed"]}
    assert runs
    whole = torch.load(tmp_path / "whole/checkpoints/last.ckpt", weights_only=True)
    assert whole["global_step"] == 20
    for run in runs:
        state = torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)
        for name, tensor in whole["state_dict"].items():
            assert torch.equal(tensor, state["state_dict"][name]), (run, name)
        for one, other in zip(whole["optimizer_states"], state["optimizer_states"], strict=True):
            torch.testing.assert_close(one["state"], other["state"], rtol=0, atol=0)
        left = [path.name for path in (tmp_path / run).rglob("*") if path.suffix in (".part", ".tmp")]
        assert left == []
        _, *lines = (tmp_path / run / "metrics.csv").read_text().splitlines()
        steps = [int(line.split(",")[0]) for line in lines]
        assert steps == sorted(set(steps))
        # A checkpoint is written just before its own update's row: a kill between the two costs that row.
        assert set(range(1, 21)) - set(steps) <= set(range(INTERVAL, 21, INTERVAL))
