"""Several processes in a test: the same function on each rank of a group, its results by rank."""

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pytorch_lightning.utilities import rank_zero_only

# The first start imports these once for all: each process is then a fork of one that has never computed.
PRELOADED = ["torch", "esrgan_lightning.training", "esrgan_lightning.config"]


def on_ranks(world: int, function: Callable[..., Any], *arguments: Any, group: bool = True) -> list[Any]:
    """``[function(rank, *arguments) for rank in range(world)]``, at the same time.

    Args:
        world: how many processes.
        function: importable by name: from this folder, not from a test module.
        *arguments: for all ranks.
        group: set up a gloo group; without it the function does.
    """
    mp.get_context("forkserver").set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        parts = (function, arguments, world if group else 0, folder)
        mp.start_processes(_on_rank, parts, nprocs=world, start_method="forkserver")
        return [torch.load(Path(folder) / str(rank), weights_only=True) for rank in range(world)]


def _on_rank(rank: int, function: Callable[..., Any], arguments: Any, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    if world:
        # What Lightning takes for "started by somebody else".
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        rank_zero_only.rank = rank  # which it looks up when it is imported: here before the process began
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/group",
            rank=rank,
            world_size=world,
            timeout=timedelta(minutes=3),  # a rank that waits for a collective of its own is a failure
        )
    torch.save(function(rank, *arguments), Path(folder) / str(rank))
    dist.barrier()
    dist.destroy_process_group()
