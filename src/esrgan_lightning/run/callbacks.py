"""What a run writes and watches beside the training itself."""

import json
import logging
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from safetensors.torch import save
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize, to_uint8, write_image
from esrgan_lightning.ops.cores import OtherWork
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.ops.picture import comparison
from esrgan_lightning.run.progress import announce, duration
from esrgan_lightning.stages.base import Stage
from esrgan_lightning.stages.faults import Fault
from esrgan_lightning.weights.state import state_hash

logger = logging.getLogger(__name__)
_WARM_UP = 5  # batches on a GPU: cuDNN chooses its algorithms, a graph is recorded
_TIMED, _WORTH_TELLING, _DAY = 5.0, 600.0, 86400.0  # seconds


class Throughput(Callback):
    """Logs images per second, the share of time spent waiting for data, and the learning rates."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._batches = 0
        self._start: tuple[float, float] | None = None  # of the clock, and seconds waited until then

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Starts the clock at the beginning and after a validation."""
        self._start = self._start or (time.perf_counter(), _waited(trainer))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Logs the rates over the batches since the clock started."""
        assert self._start is not None
        self._batches += 1
        if not cast(Stage, pl_module).logs:
            return
        now, waited = time.perf_counter(), _waited(trainer)
        seconds = now - self._start[0]
        pl_module.log("images_per_second", self._batches * self.batch_size / seconds, prog_bar=True)
        pl_module.log("data_wait_share", (waited - self._start[1]) / seconds)
        for name, optimizer in zip(("train/lr", "train/lr_d"), trainer.optimizers, strict=False):
            pl_module.log(name, float(optimizer.param_groups[0]["lr"]))
        if self._batches >= trainer.log_every_n_steps:  # type: ignore[attr-defined]
            self._batches, self._start = 0, (now, waited)

    def on_validation_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Time spent validating does not count."""
        self._batches, self._start = 0, None


def _waited(trainer: pl.Trainer) -> float:
    """Seconds that training has waited for its loader; 0 for a foreign one."""
    return float(getattr(trainer.train_dataloader, "waited_seconds", 0.0))


class Forecast(Callback):
    """Tells what is trained, what it takes on the disk and, after the first updates, how long it takes.

    Args:
        run_dir: where the checkpoints go.
        keep: how many of them are kept, beside the best.
        smaller: what to advise where a processor would need days, or "".
    """

    def __init__(self, run_dir: Path, *, keep: int, smaller: str = "") -> None:
        self.run_dir, self.keep, self.smaller = run_dir, keep, smaller
        self._batches, self._start = 0, (0.0, 0)  # of the clock, and updates until then
        self._others = OtherWork()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Parameters, the memory that they take, and the checkpoints."""
        self._batches = 0
        if not trainer.is_global_zero:
            return
        learnt = {
            name: sum(each.numel() for each in module.parameters() if each.requires_grad)
            for name, module in pl_module.named_children()
        }
        shown = " · ".join(f"{name}: {n / 1e6:.3g} M parameters" for name, n in learnt.items() if n)
        weights = sum(tensor.nbytes for tensor in pl_module.state_dict().values())
        gradients = 4 * sum(learnt.values())  # Adam keeps two means of their size
        checkpoint, free = weights + 2 * gradients, shutil.disk_usage(self.run_dir).free
        need = (self.keep + 1) * checkpoint
        announce(
            f"{shown} · {_size(weights + 3 * gradients)} of memory before what a batch takes · up to "
            f"{self.keep + 1} checkpoints of {_size(checkpoint)}, {_size(free)} free"
            + (": make room, or lower trainer.keep_last" if need > free else "")
        )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Starts the clock when the first updates, which are slow, are done; tells once."""
        self._batches += 1
        cuda = pl_module.device.type == "cuda"
        if self._batches <= (_WARM_UP if cuda else 1):
            self._start, self._others = (time.monotonic(), trainer.global_step), OtherWork()
            return
        seconds, done = time.monotonic() - self._start[0], trainer.global_step - self._start[1]
        if not trainer.is_global_zero or seconds < _TIMED or done < 1:
            return
        self._start = (math.inf, 0)
        if not cuda and trainer.world_size == 1:
            threads, others = torch.get_num_threads(), self._others.cores()
            if (fewer := self._others.room_for(threads)) < threads:
                announce(
                    f"other work takes {others:.1f} of {os.cpu_count()} cores, and the {threads} threads of "
                    f"an update wait for one another: with OMP_NUM_THREADS={fewer} before the command it may "
                    "be several times as fast"
                )
        to_go = trainer.max_steps - trainer.global_step
        if (left := seconds / done * to_go) < _WORTH_TELLING:
            return
        memory = f", {_size(torch.cuda.max_memory_allocated(pl_module.device))} of its memory" if cuda else ""
        smaller = f"; {self.smaller}" if self.smaller and not cuda and left > _DAY else ""
        announce(
            f"{to_go:,} updates to go at {seconds / done:.2g} s each: {duration(left)} without validations "
            f"on {pl_module.device}{memory}{smaller}"
        )


def _size(size: float) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


class OneBatch(Callback):
    """Trains on the first batch alone until its loss has fallen to a share of what it was.

    The adversarial term is left out: it rises and falls with the discriminator.

    Args:
        share: of the first loss, in (0, 1).

    Raises:
        InputError: a share out of range.
    """

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share < 1:
            raise InputError(f"callbacks.one_batch.share={share} must lie between 0 and 1")
        self.share = share
        self._batch: dict[str, Any] = {}
        self._losses: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: dict[str, Any], *_: Any
    ) -> None:
        """Puts the first batch in the place of each other."""
        self._batch = self._batch or dict(batch)
        batch.update(self._batch)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Looks at the loss, and stops."""
        if not cast(Stage, pl_module).completes_update:
            return
        weights = getattr(getattr(pl_module, "losses", None), "weights", {"loss": 1.0})
        logged = trainer.callback_metrics
        terms = [w * float(logged[f"train/{name}"]) for name, w in weights.items() if name != "adversarial"]
        self._losses.append(sum(terms))
        if self._losses[-1] <= self.share * self._losses[0]:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says what came out."""
        if trainer.is_global_zero and self._losses:
            first, last = self._losses[0], self._losses[-1]
            learnt = "learnt" if last <= self.share * first else "NOT learnt: look at the rate and the losses"
            announce(f"debug=overfit: {first:.4g} → {last:.4g} in {len(self._losses)} updates: {learnt}")


class ValidateAtEnd(Callback):
    """The last update is always followed by a validation, whatever the interval."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Lightning reads the interval right after this hook."""
        if trainer.global_step >= trainer.max_steps:
            trainer.val_check_batch = 1


class SampleGrid(Callback):
    """Writes ``samples/update_N.png`` at each validation: LR | bicubic | SR | HR of the same fixed crops.

    TensorBoard and Weights & Biases get the picture, too, as ``val/samples``.

    Args:
        folder: where the pictures go.
        count: how many validation images are shown.
        size: side of the HR crop, taken from the middle.
    """

    def __init__(self, folder: Path, *, count: int = 4, size: int = 128) -> None:
        self.folder, self.count, self.size = folder, count, size
        self._rows: list[list[Tensor]] = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: dict[str, Any], *_: Any
    ) -> None:
        """Keeps the crops of the first images."""
        if trainer.sanity_checking or not trainer.is_global_zero or len(self._rows) >= self.count:
            return
        lr, hr = (to_uint8(batch[key][0]).cpu() for key in ("lr", "hr"))
        scale = hr.shape[-1] // lr.shape[-1]
        side = min(self.size // scale, *lr.shape[-2:])
        top, left = ((length - side) // 2 for length in lr.shape[-2:])
        small = lr[:, top : top + side, left : left + side]
        window = (slice(None), *(slice(at * scale, (at + side) * scale) for at in (top, left)))
        nearest = small.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
        self._rows.append(
            [nearest, imresize(lr, scale)[window], to_uint8(outputs[0]).cpu()[window], hr[window]]
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the picture."""
        if self._rows:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"update_{trainer.global_step:07d}.png"
            picture = comparison(self._rows, ["LR", "bicubic", "SR", "HR"])
            write_image(path, picture)
            for each in trainer.loggers:
                if isinstance(each, TensorBoardLogger):
                    each.experiment.add_image("val/samples", picture, trainer.global_step)
                elif isinstance(each, WandbLogger):
                    each.log_image("val/samples", [str(path)], trainer.global_step)
            self._rows = []


class Export(Callback):
    """Keeps the file of weights that a user gets up to date, with its provenance.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that is killed has left a usable model."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            stage = cast(Stage, pl_module)
            stage.export(self.folder, stage.provenance | {"updates": trainer.global_step})

    on_train_end = on_validation_end


class FinishLoggers(Callback):
    """Ends a Weights & Biases run with the training: the next job of a sweep would write into it."""

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """After the last log."""
        self._finish(trainer, exit_code=0)

    def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
        """A run that failed is shown as failed."""
        self._finish(trainer, exit_code=1)

    def _finish(self, trainer: pl.Trainer, *, exit_code: int) -> None:
        for each in trainer.loggers:
            if isinstance(each, WandbLogger) and trainer.is_global_zero:
                each.experiment.finish(exit_code=exit_code)


class RankAgreement(Callback):
    """At the end all processes must hold the same parameters; a difference is an error."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hashes, gathers, compares."""
        if trainer.world_size == 1:
            return
        mine = state_hash(dict(pl_module.named_parameters()))
        hashes: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(hashes, mine)
        if len(set(hashes)) > 1:
            raise RuntimeError(f"the ranks' parameters differ after training: {hashes}")
        if trainer.is_global_zero:
            announce(f"parameters equal on all {trainer.world_size} ranks: sha256 {mine}")


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
