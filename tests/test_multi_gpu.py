"""docs/multi_gpu.md: its commands, on two "machines" that are both this one, as far as CPUs can go."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import rank_work
import tiny
import torch
from ranks import on_ranks

from esrgan_lightning.config import compose
from esrgan_lightning.training import train
from esrgan_lightning.weights import read_generator_file

PAGE = (Path(__file__).resolve().parents[1] / "docs/multi_gpu.md").read_text("utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
COMMANDS = [line for line in LINES if not line.startswith("#")]
SAME = ("trainer.accelerator=cpu", "trainer.precision=32", "data.batch_size=4", "schedule=constant")


def command(marked: str) -> str:
    (found,) = [line for line in COMMANDS if marked in line]
    return found


def overrides(line: str) -> list[str]:
    return shlex.split(line.partition("esrgan-train ")[2])


def small(words: list[str], port: int) -> list[str]:
    """The same command for a machine with one process, whose name is an address of this machine."""
    changed = [word.replace("node0", "127.0.0.1").replace("29400", str(port)) for word in words]
    if "--nproc-per-node" in changed:
        changed[changed.index("--nproc-per-node") + 1] = "1"
    return [*(word.replace("devices=4", "devices=1") for word in changed), *tiny.PSNR, *SAME]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_understood(line):
    """Breaks if the page names a key or a choice that is gone."""
    given = [word.split(",")[0] for word in overrides(line) if word != "-m"]
    cfg = compose(*given)
    assert cfg.trainer.strategy == "ddp"
    assert cfg.trainer.devices in (2, 4)


def check(folder: Path) -> None:
    """There is one run, and its generator is that of a run in one process."""
    assert [each.name for each in (folder / "runs").iterdir()] == ["two_machines"]
    train(compose("stage=psnr", *tiny.PSNR, *SAME), folder / "alone")
    one, two = (
        read_generator_file(each / "generator.safetensors").state
        for each in (folder / "alone", folder / "runs/two_machines")
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
def test_torchrun_over_two_machines(tmp_path, port):
    """Breaks if the installed command does not take its rank from torchrun, or each machine trains alone."""
    words = small(shlex.split(command("torchrun")), port)
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"OMP_NUM_THREADS": "1", "PATH": path}
    nodes = [
        subprocess.Popen(
            [programs / words[0], *words[1:]],
            cwd=tmp_path,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert sum(text.count("runs/two_machines: psnr_y") for text in said) == 1
    check(tmp_path)


def slurm(rank: int, port: int) -> dict[str, str]:
    """What `srun` sets for a task, one on each of two nodes."""
    return {
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train",
        "SLURM_JOB_ID": "7", "SLURM_PROCID": str(rank), "SLURM_LOCALID": "0", "SLURM_NODEID": str(rank),
        "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("started", ["srun", "MASTER_ADDR"])
def test_other_ways_to_start_over_two_machines(tmp_path, port, started):
    """Breaks if the ranks that SLURM gives, or NODE_RANK, are not taken up."""
    line = command(started)
    if started == "srun":
        environments = [slurm(rank, port) for rank in range(2)]
    else:
        names = small(shlex.split(line.partition("esrgan-train")[0]), port)
        own = dict(word.split("=") for word in names if word[0].isupper())
        environments = [own | {"NODE_RANK": str(rank)} for rank in range(2)]
    on_ranks(2, rank_work.node, environments, small(overrides(line), port), tmp_path, group=False)
    check(tmp_path)
