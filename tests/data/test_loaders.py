"""The same samples in the same batches, however many processes share them."""

import os
import resource
import signal
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

from esrgan_lightning.data import UpdateSampler
from esrgan_lightning.data.loaders import IGNORED, in_shared_memory, start_worker
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.distributed import signals_held


def test_no_signal_ends_a_loader_process_that_starts():
    """It inherits the mask, and lives until it has its own handlers."""
    with signals_held(*IGNORED):
        child = subprocess.Popen(["sleep", "60"])
    try:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            child.send_signal(each)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
    finally:
        child.kill()
        child.wait()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []).isdisjoint({signal.SIGTERM, signal.SIGINT})


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_global_batches_do_not_depend_on_the_number_of_processes(world_size):
    """Breaks if ranks overlap, leave samples out, or take them from another update's batch."""
    parts = [UpdateSampler(batch_size=8, batches=5, rank=r, world_size=world_size) for r in range(world_size)]
    for update, shares in enumerate(zip(*parts, strict=True)):
        assert sorted(n for share in shares for n in share) == list(range(8 * update, 8 * update + 8))


def test_a_resumed_run_continues_where_it_stopped():
    """Breaks if resuming restarts the data, or if the length no longer is that of the whole run."""
    whole = list(UpdateSampler(batch_size=4, batches=6))
    rest = UpdateSampler(batch_size=4, batches=6, start=2)
    assert list(rest) == whole[2:]
    assert len(rest) == 6


@pytest.mark.parametrize(("batch_size", "world_size"), [(6, 4), (0, 1), (-2, 1)])
def test_a_batch_that_cannot_be_shared_out_is_refused(batch_size, world_size):
    with pytest.raises(InputError, match=f"data.batch_size={batch_size}"):
        UpdateSampler(batch_size=batch_size, batches=1, world_size=world_size)


def test_a_script_ends_with_its_loader_processes_still_there():
    """Breaks if the interpreter waits at its end for processes that ignore its signal."""
    script = (
        "from esrgan_lightning.data import UpdateSampler, loaders\n"
        "sampler = UpdateSampler(batch_size=2, batches=9)\n"
        "settings = {'num_workers': 1, 'worker_init_fn': loaders.start_worker}\n"
        "batches = iter(loaders.TimedLoader(range(99), batch_sampler=sampler, **settings))\n"
        "print(next(batches))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "tensor([0, 1])\n", done.stderr


class Large:
    """A sample; ``trouble`` happens in the loader's process first."""

    def __init__(self, trouble):
        self.trouble = trouble

    def __len__(self):
        return 4

    def __getitem__(self, number):
        self.trouble()
        return {"hr": torch.full((100_000,), number)}


def small_shared_memory():
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def end_the_group():
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), signum)


def loaded(trouble):
    loader = DataLoader(
        Large(trouble),
        batch_size=None,
        num_workers=1,
        collate_fn=partial(in_shared_memory, lambda batch: batch),
        worker_init_fn=start_worker,
        timeout=60,
    )
    return [int(batch["hr"][0]) for batch in loader]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_full_shared_memory_is_told():
    """Breaks if training waits for ever for a batch that its loader process could not hand over."""
    with pytest.raises(RuntimeError, match="share_memory_"):
        loaded(small_shared_memory)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_signal_to_all_does_not_end_the_loader():
    """Breaks if a run cannot save, as its loader's processes end before it."""
    assert loaded(end_the_group) == [0, 1, 2, 3]
