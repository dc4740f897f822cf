"""How a run ends before its last update: on SIGTERM, on Ctrl-C, when its time is up, when it cannot go on."""

import errno
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from torch.multiprocessing.spawn import ProcessRaisedException

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.folder import latest_checkpoint
from esrgan_lightning.run.processes import cause_in_process
from esrgan_lightning.run.progress import announce
from esrgan_lightning.run.state import validation_due
from esrgan_lightning.stages.base import Stage
from esrgan_lightning.stages.faults import NonFiniteError

TIME_IS_UP = -1
# A full disk, a full quota, a file larger than allowed.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def as_user_errors(run_dir: Path) -> Iterator[None]:
    """Around ``fit``: a run that diverged or has no room left is told with the checkpoint to go back to.

    Lightning's warning of an "epoch" (here: the run) half done is left out: that is what resuming means.

    Raises:
        InputError: in place of the error inside.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", ".*resuming from a checkpoint that ended before the epoch ended"
            )
            # A run may go on without a callback that it had: docs/resume.md.
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint need to be provided")
            yield
    except (NonFiniteError, ProcessRaisedException) as error:
        cause = cause_in_process(error) if isinstance(error, ProcessRaisedException) else error
        if not isinstance(cause, NonFiniteError):
            raise cause or error from None
        raise InputError(f"{cause}; last good checkpoint: {latest_checkpoint(run_dir)}") from error
    except MisconfigurationException as error:  # a callback that does not go with the stages
        raise InputError(f"callbacks: {error}") from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise InputError(
            f"{run_dir} cannot be written to: {error.strerror}; the checkpoint before is whole: "
            f"{latest_checkpoint(run_dir)}. Make room, and go on with resume=last"
        ) from error


class GracefulShutdown(Callback):
    """After the update under way, and a validation that is due, saves and ends the run.

    All processes end after the same update, whichever of them got the signal. A second Ctrl-C ends at once.
    Lightning's own handling of SIGTERM speaks to the other processes from within the handler and saves
    nothing; it is set aside while training lasts.

    Args:
        name: the run's, for the message that says how to go on.
        saved_as: the checkpoint, for the same.
        max_minutes: time from the start of ``fit``, or None.

    Attributes:
        signum: the signal that ended the run, or None.
    """

    def __init__(self, name: str, saved_as: Path, *, max_minutes: float | None = None) -> None:
        self.name, self.saved_as, self.max_minutes = name, saved_as, max_minutes
        self.signum: int | None = None
        self._received = 0
        self._start = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the signals; only a program's main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in (signal.SIGTERM, signal.SIGINT)}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self._received:
            signal.default_int_handler(signum, frame)
        self._received = signum

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops after an update's last batch, unless a validation comes first."""
        if cast(Stage, pl_module).completes(batch_idx) and not validation_due(trainer):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops after a validation."""
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        reason = self._agreed(trainer)
        self.signum = reason if reason > 0 else None  # also of a run that is over: a sweep is not
        if reason == 0 or trainer.global_step >= trainer.max_steps:
            return
        trainer.should_stop = True
        trainer.limit_val_batches = 0  # Lightning would validate once more, which an unbroken run does not
        if trainer.is_global_zero:
            why = "trainer.max_time is up" if reason == TIME_IS_UP else signal.Signals(reason).name
            announce(
                f"{why}: stopping after update {trainer.global_step} of {trainer.max_steps}, saved as "
                f"{self.saved_as}; the same command with name={self.name} resume=last goes on"
            )

    def _agreed(self, trainer: pl.Trainer) -> int:
        late = self.max_minutes is not None and time.monotonic() - self._start >= 60 * self.max_minutes
        reason = self._received or (TIME_IS_UP if late else 0)
        if trainer.world_size == 1:
            return reason
        # A signal counts more than the time: all processes have to give the same reason.
        both = torch.tensor([max(reason, 0), reason == TIME_IS_UP], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(both, op=torch.distributed.ReduceOp.MAX)
        received, late = both.tolist()
        return int(received) or (TIME_IS_UP if late else 0)

    def _give_back(self) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._before = {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives the signals back."""
        self._give_back()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Gives the signals back."""
        self._give_back()

    def pass_on(self, trainer: pl.Trainer) -> None:
        """After ``fit``: what a signal was to end is more than this run.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            SystemExit: it was SIGTERM; 143 is the code of a process that it ends.
        """
        if self.signum == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signum:
            # Lightning kills the first process when another one's code is not 0.
            raise SystemExit(128 + self.signum if trainer.is_global_zero else 0)
