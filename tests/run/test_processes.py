"""Who starts a run's processes, what does not fit, and what a failed process tells."""

import os
import signal
import subprocess
import sys

import pytest
import pytorch_lightning as pl
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import VGGDiscriminator
from esrgan_lightning.networks.batch_norm import SynchronizedBatchNorm
from esrgan_lightning.run.processes import (
    cause_in_process,
    check_launch,
    check_shared_name,
    launched_processes,
    layer_sync,
)
from esrgan_lightning.stages.faults import NonFiniteError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
SLURM = {
    "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "1",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
}  # fmt: skip


@pytest.fixture
def started_by(monkeypatch):
    def start(environment):
        for name in {*TORCHRUN, *SLURM}:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return start


def trainer(**settings):
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **settings)


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, None), (TORCHRUN, ("torchrun", 2)), (SLURM, ("SLURM", 2))]
)
def test_launchers_are_told_apart(started_by, environment, expected):
    """Breaks if a launcher is overlooked: its processes would each train the whole run."""
    started_by(environment)
    assert launched_processes() == expected


@pytest.mark.parametrize("environment", [TORCHRUN, SLURM])
def test_settings_have_to_fit_what_was_started(started_by, environment):
    """Breaks if two processes write one folder, or wait for others that nobody has started."""
    started_by(environment)
    for devices in (1, 4):
        with pytest.raises(InputError, match=rf"started by .*: 2; .*num_nodes: {devices}; make these equal"):
            check_launch(trainer(devices=devices), spawn=False)
    check_launch(trainer(devices=2), spawn=False)
    check_launch(trainer(devices=1, num_nodes=2), spawn=False)


@pytest.mark.parametrize("environment", [TORCHRUN, SLURM])
def test_a_sweep_is_not_started_several_times(started_by, environment):
    """Breaks if a sweep under torchrun mixes its jobs."""
    started_by(environment)
    with pytest.raises(InputError, match=r"a multirun .* has started it 2 times"):
        check_launch(trainer(devices=2), spawn=True)
    started_by({})
    check_launch(trainer(devices=2), spawn=True)


def test_a_name_with_the_time_is_for_processes_of_one_start(started_by):
    """Breaks if two machines write into folders of different seconds."""
    timed = "psnr_${now:%Y}"
    started_by({})
    check_shared_name(timed, num_nodes=1)
    check_shared_name("psnr", num_nodes=2)
    with pytest.raises(InputError, match="give name=NAME"):
        check_shared_name(timed, num_nodes=2)
    started_by(TORCHRUN)
    with pytest.raises(InputError, match="give name=NAME"):
        check_shared_name(timed, num_nodes=1)


def test_batch_norm_is_synchronised_by_what_the_device_has():
    """Breaks if CPUs get torch's layer, which raises there, or GPUs go without its fused one."""
    assert isinstance(layer_sync("cuda"), TorchSyncBatchNorm)
    network = VGGDiscriminator(num_features=2, patch_size=32)
    synced = layer_sync("cpu").apply(network)
    kinds = {type(module) for module in synced.modules()}
    assert SynchronizedBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds


TRACE = """

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "x.py", line 1, in f
{}
"""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("esrgan_lightning.errors.InputError: data.batch_size=3: no: multiple", InputError),
        ("esrgan_lightning.stages.faults.NonFiniteError: data.batch_size=3: no: multiple", NonFiniteError),
        ("KeyError: 'esrgan_lightning.errors.InputError: '", None),
    ],
)
def test_a_processes_own_error_is_found_in_its_traceback(line, kind):
    """Breaks if a user's mistake in a sweep is a traceback, or a defect looks like a user's mistake."""
    cause = cause_in_process(ProcessRaisedException(TRACE.format(line), 1, 42))
    if kind is None:
        assert cause is None
    else:
        assert type(cause) is kind
        assert str(cause) == "data.batch_size=3: no: multiple"


FIRST = """
import os, subprocess, sys, time
from esrgan_lightning.run.processes import follow_first_process
follow_first_process()
if "LOCAL_RANK" not in os.environ:
    subprocess.Popen([sys.executable, *sys.argv], env=os.environ | {"LOCAL_RANK": "1"})
print("follows", flush=True)
time.sleep(100)
"""


def test_no_process_outlives_the_first(started_by, tmp_path):
    """Breaks if the second waits half an hour for one that was killed before they met."""
    started_by({})
    (tmp_path / "first.py").write_text(FIRST)
    command = [sys.executable, tmp_path / "first.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
        assert [first.stdout.readline() for _ in range(2)] == ["follows\n"] * 2
        os.kill(first.pid, signal.SIGKILL)
        # Ends with the last process that holds the pipe.
        assert first.stdout.read() == "the run's first process has ended, and this one with it\n"
