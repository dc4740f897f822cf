"""What to look at when an update was not finite: the batch, as a file."""

import json
import logging
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from safetensors.torch import save
from torch import Tensor

from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.stages.base import Stage
from esrgan_lightning.stages.faults import Fault

logger = logging.getLogger(__name__)


class NonFiniteBatch(Callback):
    """Writes ``nonfinite_update_N.safetensors`` for the first of a row of skipped updates, and says why.

    The file holds each image tensor of the update's batches under ``BATCH.NAME``, (B,3,H,W) in [0,1], and as
    metadata the cause and the images' names. A process beyond the first adds its rank to the file's name.

    Args:
        folder: the run's.
        most: files in a run; after that the warning alone is given.
    """

    def __init__(self, folder: Path, *, most: int = 10) -> None:
        self.folder, self.most = folder, most

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """After an update that was skipped."""
        stage = cast(Stage, pl_module)
        fault, stage.fault = stage.fault, None
        if fault is None:
            return
        rank = f"_rank{trainer.global_rank}" if trainer.global_rank else ""
        path = self.folder / f"nonfinite_update_{fault.update:07d}{rank}.safetensors"
        room = len(list(self.folder.glob("nonfinite_update_*"))) < self.most
        try:
            if room:
                write_whole(path, _content(fault))
        except OSError:  # of a full disk the next checkpoint tells
            room = False
        logger.warning(
            "%s: the update is left out%s",
            fault,
            f"; its batch is {path}" if room else ", its batch not kept",
        )

    on_train_end = on_train_batch_end  # the last update may not have been looked at before

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """After one skipped update too many."""
        self.on_train_batch_end(trainer, pl_module)


def _content(fault: Fault) -> bytes:
    tensors = {
        f"{number}.{key}": value.detach().cpu().contiguous()
        for number, batch in enumerate(fault.batches)
        for key, value in batch.items()
        if isinstance(value, Tensor)
    }
    names = [[str(name) for name in batch.get("name", ())] for batch in fault.batches]
    metadata = {"update": str(fault.update), "cause": fault.cause, "names": json.dumps(names)}
    return save(tensors, metadata=metadata)
