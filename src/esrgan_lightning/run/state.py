"""What a run has to remember beside its weights and optimisers, to go on as if nothing had happened."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger

RUN_KEY = "esrgan_lightning_run"


def validation_due(trainer: pl.Trainer) -> bool:
    """Whether the batch that has just been trained on is followed by a validation."""
    interval = trainer.val_check_batch
    if interval is None or not trainer.enable_validation:
        return False
    return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % interval == 0


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of this process's random numbers, as plain values and tensors: Python, NumPy, torch, CUDA."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Goes on with the random numbers of :func:`random_state`; CUDA's where there are such on both sides."""
    random.setstate(state["python"])
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


class RunState(Callback):
    """Saves and restores the random numbers of each process, the configuration, and a validation still due.

    Args:
        config: plain values, compared when the run is continued.
        source: the checkpoint that this run continues from, as this process has found it.
    """

    def __init__(self, config: Mapping[str, Any], source: Path | None = None) -> None:
        self.config, self.source = config, source
        self._saved: dict[str, Any] | None = None
        self._random: dict[str, Any] | None = None
        self._validated: int | None = None  # the update of the last validation
        self.restoring = source is not None  # what goes wrong until then is the checkpoint's fault

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """RuntimeError where the processes, each by itself, have found different files to go on from."""
        first = trainer.strategy.broadcast(self.source)
        if first != self.source:
            raise RuntimeError(
                f"process {trainer.global_rank} would go on from {self.source}, and process 0 from {first}: "
                "all machines have to see the same folder"
            )

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Called in each process, written by the first."""
        states: list[Any] = [random_state(trainer.strategy.root_device)]
        if trainer.world_size > 1:
            mine, states = states[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(states, mine)
        wandb = [str(each.version) for each in trainer.loggers if isinstance(each, WandbLogger)]
        checkpoint[RUN_KEY] = {
            "config": dict(self.config),
            "random": states,
            "validation_due": validation_due(trainer) and self._validated != trainer.global_step,
            "wandb": wandb[0] if wandb else None,
        }

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keeps it until the loaders have been made: they draw random numbers."""
        self._saved = checkpoint[RUN_KEY]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the random numbers; then validates, where the run was killed before that was done."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        device = trainer.strategy.root_device
        if trainer.global_rank < len(saved["random"]):  # a process that there was not keeps its seed
            restore_random_state(saved["random"][trainer.global_rank], device)
        if saved["validation_due"]:
            self.restoring = False
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.restarting = False
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        self._random = random_state(device)
        self.restoring = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What is saved from now on need not validate again."""
        self._validated = trainer.global_step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Again before the first batch: where the saved run was over, its loader is made only now."""
        if self._random is not None:
            restore_random_state(self._random, trainer.strategy.root_device)
            self._random = None
