"""Two processes on the CPU, started as a user starts them: by the installed command."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rank_work
import tiny
import torch
import yaml
from ranks import on_ranks

from esrgan_lightning.config import compose
from esrgan_lightning.training import train
from esrgan_lightning.weights import read_generator_file

pytestmark = pytest.mark.slow

SCRIPT = Path(sys.executable).with_name("esrgan-train")
# Four samples: two in each process, as batch norm refuses a single value.
SAME = ("trainer.accelerator=cpu", "trainer.precision=32", "data.batch_size=4")
TWO = ("trainer=ddp", "trainer.devices=2", *SAME)
HASH = r"parameters equal on all 2 ranks: sha256 ([0-9a-f]{64})"


def fresh_environment():
    # A session of pytest under coverage or a launcher has variables that a fresh process must not see.
    strange = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_", "NODE_RANK")
    env = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    return env | {"OMP_NUM_THREADS": "1"}


def esrgan_train(folder, *arguments, **environment):
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env=fresh_environment() | environment,
        text=True,
        capture_output=True,
        timeout=300,
    )


def test_two_processes_leave_one_folder_and_equal_parameters(tmp_path):
    """Breaks if DDP stops on the frozen half of a GAN, writes twice, or the ranks train apart.

    With init=auto and a preset of one's own: or if each process trains the first stage, or trains it without
    --config-dir.
    """
    for stage in ("psnr", "gan"):
        (tmp_path / "my/preset" / stage).mkdir(parents=True)
        (tmp_path / f"my/preset/{stage}/mine.yaml").write_text(
            "# @package _global_\ndefaults: [paper, _self_]\npreset: mine\noptimizer: {lr: 3e-3}\n"
        )
    mine = ("--config-dir", "my", "preset=mine", "init=auto", "+init_settings.trainer.max_updates=2")
    done = esrgan_train(tmp_path, *mine, "stage=gan", "name=two", *tiny.GAN, *TWO)
    assert done.returncode == 0, done.stderr
    assert {each.name for each in (tmp_path / "runs").iterdir()} == {"init", "two"}
    (kept,) = (tmp_path / "runs/init").glob("*/config.yaml")
    assert yaml.safe_load(kept.read_text())["optimizer"]["lr"] == 3e-3
    assert done.stdout.count("training the PSNR stage") == 1
    run = tmp_path / "runs/two"
    assert len(re.findall(HASH, done.stdout)) == 2
    assert re.search(HASH, (run / "train.log").read_text())
    assert {each.name for each in run.iterdir()} == {
        ".lock", "checkpoints", "samples", "config.yaml", "generator.safetensors", "metrics.csv",
        "outcome.json",
        "train.log", "train_ddp_process_1.log",
    }  # fmt: skip
    assert [each.name for each in (run / "samples").iterdir()] == ["update_0000002.png"]
    assert [row.split(",")[0] for row in (run / "metrics.csv").read_text().splitlines()] == ["step", "1", "2"]
    assert done.stdout.count("runs/two: psnr_y") == 1
    assert "Warning" not in done.stderr
    assert "It is recommended" not in done.stderr


FAULTS = """
import torch
from torch import nn


class Fault(nn.L1Loss):
    calls = 0

    def forward(self, sr, hr):
        self.calls += 1
        at = self.calls == 3 and torch.distributed.get_rank() == 1
        return self.fault(super().forward(sr, hr)) if at else super().forward(sr, hr)


class Raises(Fault):
    def fault(self, loss):
        raise KeyError("the second process alone")


class Diverges(Fault):
    def fault(self, loss):
        return loss * float("nan")
"""


def test_a_sweep_on_two_processes_does_not_mix_its_jobs(tmp_path):
    """Breaks if the second process runs the sweep again, or goes on with another job than the first.

    Of four jobs three fail: the second process alone raises; its loss alone is not a number, which both have
    to see, and the message names a checkpoint; the first process fails before there is a second one.
    """
    (tmp_path / "faults.py").write_text(FAULTS)
    losses = ("faults.Raises", "faults.Diverges", "torch.nn.Forgotten", "torch.nn.L1Loss")
    more = (
        "trainer.max_updates=3", "trainer.checkpoint_interval=1", "stage.max_skipped=1", "schedule=constant",
    )  # fmt: skip
    sweep = f"loss.pixel._target_={','.join(losses)}"
    done = esrgan_train(tmp_path, "-m", "name=s", *tiny.PSNR, *TWO, *more, sweep, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert re.search(r"4 jobs, 3 failed", done.stdout)
    assert "KeyError: 'the second process alone'" in done.stderr
    assert re.search(
        r"update 3: 1 updates in a row .*last good checkpoint: .*s/1/checkpoints/last\.ckpt", done.stderr
    )
    assert len(re.findall(HASH, done.stdout)) == 1
    run = tmp_path / "runs/s/3"
    assert yaml.safe_load((run / "config.yaml").read_text())["loss"]["pixel"]["_target_"] == losses[3]
    metrics = train(compose("stage=psnr", *tiny.PSNR, *SAME, *more), tmp_path / "alone")
    with (run / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    # Over the photos of both; and the mean of two halves' gradients is the gradient of the whole.
    assert float(last["val/psnr_y"]) == pytest.approx(metrics["val/psnr_y"], abs=1e-3)
    one, two = (
        read_generator_file(each / "generator.safetensors").state for each in (tmp_path / "alone", run)
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    """Breaks if samples are repeated or left out, or a second process starts from other weights or moments.

    The losses here have no mean over the batch inside: each process sees half of it.
    """
    alone = ("init=null", *tiny.GAN, "loss/adversarial=standard", "discriminator.norm=none")
    given = ("stage=gan", *alone, *SAME)
    lengths = [f"trainer.max_updates={number}" for number in (3, 6)]
    train(compose(*given, lengths[1]), tmp_path / "alone")
    train(compose(*given, lengths[0]), tmp_path / "one")
    # Under a name of its own, into whose folder the first process copies the best so far.
    resume = f"resume='{tmp_path / 'one/checkpoints/last.ckpt'}'"
    on_ranks(2, rank_work.runs, {"two": (*given, lengths[1], resume)}, tmp_path, 2)
    one, two = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("alone", "two")
    )
    assert len(two["esrgan_lightning_run"]["random"]) == 2
    for name, tensor in one["state_dict"].items():
        difference = (two["state_dict"][name].float() - tensor.float()).norm()
        assert difference <= 1e-5 * tensor.float().norm(), (name, difference / tensor.float().norm())
    train(compose(*given, "trainer.max_updates=7", "resume=last"), tmp_path / "two")  # and with one again


def test_a_signal_to_the_second_process_ends_both_after_the_same_update(tmp_path):
    """Breaks if one process waits for ever for another that has ended, or nothing is saved."""
    (tmp_path / "stop_at.py").write_text(
        "import os, signal, sys\n"
        "from pytorch_lightning.callbacks import Callback\n"
        "from esrgan_lightning.config import compose\n"
        "from esrgan_lightning.training import train\n"
        "class Stop(Callback):\n"
        "    def on_train_batch_start(self, trainer, *_):\n"
        "        if trainer.global_step == 2 and trainer.global_rank == 1:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "train(compose(*sys.argv[1:]), callbacks=[Stop()])\n"
    )
    given = ("stage=psnr", "name=two", *tiny.PSNR, *TWO, "trainer.max_updates=50", "trainer.val_interval=100")
    done = subprocess.run(
        [sys.executable, "stop_at.py", *given],
        cwd=tmp_path,
        env=fresh_environment(),
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 143, done.stderr
    assert done.stdout.count("SIGTERM: stopping after update 3 of 50") == 1
    saved = torch.load(tmp_path / "runs/two/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
