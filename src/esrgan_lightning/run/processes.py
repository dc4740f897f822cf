"""How a run's processes are started, by whom, and what is told when one of them fails."""

import os
import sys
import threading
import time
from typing import final

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.overrides.distributed import _sync_module_states
from pytorch_lightning.plugins.layer_sync import LayerSync, TorchSyncBatchNorm
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.batch_norm import synchronize_batch_norm
from esrgan_lightning.stages.faults import NonFiniteError

_FIRST = "ESRGAN_LIGHTNING_FIRST_PROCESS"  # its number, for those that it starts


@final
class ManualDDP(DDPStrategy):
    """Data parallelism for stages, which optimise by hand: no wrapper, no hooks in their backward passes.

    At the start all processes take over the first one's parameters and buffers. A stage then averages its
    gradients itself, right before each step (:func:`~esrgan_lightning.ops.distributed.average_gradients`).
    Buffers, such as batch norm's running statistics, are each process's own from then on; a validation sees
    those that a checkpoint holds, the first process's.
    """

    def configure_ddp(self) -> None:
        """In place of DDP's wrapper: the first process's values, in its layout in memory."""
        assert self.model is not None
        parameters = list(self.model.parameters())
        strides = self.broadcast([p.stride() for p in parameters])
        for parameter, stride in zip(parameters, strides, strict=True):
            if parameter.stride() != stride:
                parameter.data = torch.empty_strided(
                    parameter.shape, stride, dtype=parameter.dtype, device=parameter.device
                ).copy_(parameter.data)
        _sync_module_states(self.model)

    def on_validation_start(self) -> None:
        """All processes validate one and the same network."""
        assert self.model is not None
        for buffer in self.model.buffers():
            torch.distributed.broadcast(buffer, 0)


@final
class SynchronizeBatchNorm(LayerSync):
    """Lightning's hook for ``sync_batchnorm``, for processes without a GPU."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Changes the stage's layers, before the optimisers see them."""
        return synchronize_batch_norm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Nothing to undo: alone, or in evaluation, the layers are torch's own."""
        return model


def layer_sync(device_type: str) -> LayerSync:
    """On CUDA torch's fused layers; they refuse any other device, where ours take their place."""
    return TorchSyncBatchNorm() if device_type == "cuda" else SynchronizeBatchNorm()


def launched_processes() -> tuple[str, int] | None:
    """Who has started this process and how many in all, or None where the run starts its own."""
    if TorchElasticEnvironment.detect():
        return "torchrun", int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return "SLURM", int(os.environ["SLURM_NTASKS"])
    return None


def check_shared_name(name: str, *, num_nodes: int) -> None:
    """Refuses a name with the time in it, ``${now:…}``, where processes are started one by one."""
    if "${now:" in name and (num_nodes > 1 or (launched_processes() or ("", 1))[1] > 1):
        raise InputError("name holds the time, which each process reads from its own clock: give name=NAME")


def check_launch(trainer: pl.Trainer, *, spawn: bool) -> None:
    """Refuses settings that do not fit the processes that torchrun or srun have started.

    Raises:
        InputError: their number differs, so that some would wait for ever or train the same run twice; or
            a multirun, which starts the processes of each job itself, was started several times.
    """
    launcher, count = launched_processes() or ("", 1)
    if spawn and count > 1:
        raise InputError(
            f"a multirun (-m) starts the processes of each job itself, and {launcher} has started it {count} "
            "times: start it once, with trainer.devices"
        )
    wanted = trainer.num_devices * trainer.num_nodes
    if launcher and count != wanted:
        raise InputError(
            f"processes started by {launcher}: {count}; trainer.devices × trainer.num_nodes: {wanted}; make "
            "these equal (devices counts the processes of one node)"
        )


def follow_first_process() -> None:
    """Ends a process of Lightning's own launcher once the first one, which has started it, is gone.

    It would else wait for that one, until torch gives up after half an hour.
    """
    first = int(os.environ.setdefault(_FIRST, str(os.getpid())))
    started_by_it = os.getppid() == first and launched_processes() is None
    if not started_by_it or not int(os.environ.get("LOCAL_RANK", "0")):
        os.environ[_FIRST] = str(os.getpid())
        return

    def follow() -> None:
        while os.getppid() == first:
            time.sleep(1)
        print("the run's first process has ended, and this one with it", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def cause_in_process(error: Exception) -> InputError | NonFiniteError | None:
    """What a spawned or a loader process has raised, if it was one of the library's own errors; else None.

    The process hands over its traceback as text: the last line that begins with an error's full name says it.
    """
    for line in reversed(str(error).splitlines()):
        for kind in (InputError, NonFiniteError):
            if line.startswith(prefix := f"{kind.__module__}.{kind.__qualname__}: "):
                return kind(line.removeprefix(prefix))
    return None
