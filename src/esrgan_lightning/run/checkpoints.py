"""Checkpoints that are whole or not there: how they are written, which are kept, which is the best."""

import io
import math
import re
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from esrgan_lightning.ops.files import rename, write_whole
from esrgan_lightning.ops.tensors import check_archive
from esrgan_lightning.stages.base import Stage

LAST = "last.ckpt"
PARTIAL = ".part"


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's bytes, by the checksums inside; None for a whole file.

    ``torch.load`` itself notices a file cut short, but neither a flipped bit nor a block of zeros.
    """
    try:
        check_archive(path)
    except Exception as error:  # a flipped bit is an unknown compression, an encryption, a wrong length, …
        return f"cut short, damaged or no checkpoint ({error})"
    return None


def earlier_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(update, file) of the ring behind ``last.ckpt``, newest first."""
    found = ((re.fullmatch(r"update_(\d+)\.ckpt", path.name), path) for path in folder.glob("update_*.ckpt"))
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's way to the disk, by :func:`write_whole`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Serialises in memory first: torch's own writer would not say that a disk is full."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getbuffer(), damage)


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` every so many updates and at the end; the one before becomes ``update_N.ckpt``.

    Lightning's ModelCheckpoint warns about manual optimisation at each such save, and saves before the
    validation of the same update: a run that is continued from there has forgotten which was the best.
    ``keep`` counts all of them, ``last.ckpt`` included.
    """

    def __init__(self, folder: Path, *, every: int, keep: int = 3) -> None:
        self.path, self.every, self.keep = folder / LAST, every, keep
        self._newest: int | None = None  # the update of last.ckpt, where it belongs to this run's past

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks whether this run goes on from last.ckpt."""
        resumed = trainer.ckpt_path is not None and Path(trainer.ckpt_path).resolve() == self.path.resolve()
        self._newest = trainer.global_step if resumed else None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Saves after the last batch of a multiple of the interval: a validation may take long.

        Not before the last validation: there would be no update left that a resumed run could begin with.
        """
        over = trainer.global_step >= trainer.max_steps
        if cast(Stage, pl_module).completes_update and self._due(trainer) and not over:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves again, with what the validation has found. Checkpoint callbacks run in their order, last."""
        if self._due(trainer):
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The state after the last validation; a run that was stopped has been saved in the midst of it."""
        if trainer.global_step >= trainer.max_steps:
            self._save(trainer)

    def _due(self, trainer: pl.Trainer) -> bool:
        return trainer.global_step % self.every == 0 or trainer.should_stop

    def _save(self, trainer: pl.Trainer) -> None:
        following = self.path.with_name(f".next.ckpt{PARTIAL}")
        trainer.save_checkpoint(following)
        if trainer.is_global_zero:
            if self._newest is not None and self._newest < trainer.global_step and self.path.is_file():
                rename(self.path, self.path.with_name(f"update_{self._newest:07d}.ckpt"))
            # Between these two there is no last.ckpt; resume=last then takes the first of the ring.
            rename(following, self.path)
            self._prune(trainer.global_step)
        self._newest = trainer.global_step

    def _prune(self, update: int) -> None:
        earlier = earlier_checkpoints(self.path.parent)
        # Those ahead of this update were left by a run that went on from before them.
        past = [path for number, path in earlier if number < update]
        for path in {path for _, path in earlier} - set(past[: self.keep - 1]):
            path.unlink()


class BestCheckpoint(Checkpoint):
    """Keeps the best checkpoint by a validated metric as ``best_update_N.ckpt``.

    Unlike Lightning's it remembers no absolute path: a run that was moved, or is continued under another
    name, still knows its best.
    """

    def __init__(self, folder: Path, *, monitor: str = "psnr_y", higher_is_better: bool = True) -> None:
        self.folder, self.monitor, self.higher_is_better = folder, monitor, higher_is_better
        self.score: float | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves a better one, then removes the one before. A score that is not finite is never better."""
        found = trainer.callback_metrics.get(f"val/{self.monitor}")
        if not isinstance(found, Tensor) or not found.isfinite():
            return
        score = float(found)
        if self.score is not None and (score <= self.score if self.higher_is_better else score >= self.score):
            return
        self.score = score
        path = self.folder / f"best_update_{trainer.global_step:07d}.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            for other in set(self.folder.glob("best_update_*.ckpt")) - {path}:
                other.unlink()

    def state_dict(self) -> dict[str, Any]:
        """The best score so far."""
        return {"monitor": self.monitor, "score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A score by another metric says nothing, nor does one that no other can surpass."""
        score = state_dict["score"]
        if state_dict["monitor"] == self.monitor and score is not None and math.isfinite(score):
            self.score = score
