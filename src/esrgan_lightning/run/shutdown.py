"""How a run ends before its last update: on a signal, when its time is up, when it cannot go on."""

import errno
import multiprocessing
import re
import signal
import threading
import time
import traceback
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

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.folder import latest_checkpoint
from esrgan_lightning.run.processes import cause_in_process
from esrgan_lightning.run.progress import announce
from esrgan_lightning.run.state import RunState, validation_due
from esrgan_lightning.stages.base import Stage
from esrgan_lightning.stages.faults import NonFiniteError

TIME_IS_UP = -1
SIGNALS = [name for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
# A full disk, a full quota, a file larger than allowed.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# What an error's text tells, torch's own kinds being many, and what a user can do about it.
REMEDIES = {
    r"shared memory|share_memory_|Bus error|SemLock|torch_shm_manager": (
        "the memory that loader processes share (/dev/shm) is full: docker run --shm-size=2g, or "
        "data.num_workers=0"
    ),
    r"out of memory|can't allocate memory|Cannot allocate memory|MemoryError|signal: Killed": (
        "the memory is full: give a smaller data.batch_size or data.patch_size, or fewer data.num_workers"
    ),
    r"DataLoader worker \(pid": (
        "a loader process has died: data.num_workers=0 shows why; where it was killed, the memory may be full"
    ),
    r"DistNetworkError|DistStoreError|DistBackendError|Connection (closed|reset) by peer": (
        "the run's processes have lost each other: one of them has ended, its own message says why, or its "
        "machine cannot be reached"
    ),
}


@contextmanager
def as_user_errors(run_dir: Path, state: RunState | None = None) -> Iterator[None]:
    """Around ``fit``: an error that a user can mend becomes an InputError with the remedy and a checkpoint.

    Args:
        run_dir: the run's folder.
        state: of a run that is resumed: what its checkpoint breaks is told as such.
    """
    try:
        with warnings.catch_warnings():
            # Resuming is what the first means, and a run may go on without a callback that it had.
            warnings.filterwarnings(
                "ignore", ".*resuming from a checkpoint that ended before the epoch ended"
            )
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint need to be provided")
            yield
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # what Lightning then puts away was half made
            raise KeyboardInterrupt from error
        told = _user_error(error, run_dir, state)
        if told is None:
            raise
        raise told from error


def _user_error(error: Exception, run_dir: Path, state: RunState | None) -> InputError | None:
    """What the user can do about an error; None for a bug."""
    own = error if isinstance(error, NonFiniteError) else cause_in_process(error)
    if isinstance(own, NonFiniteError):
        # What makes NaN of a picture may have been saved since the last one that was none.
        good = latest_checkpoint(run_dir, "best_*.ckpt" if "validation" in str(own) else "*.ckpt")
        return InputError(f"{own}; last good checkpoint: {good}")
    if own or isinstance(error, InputError):
        return own
    if isinstance(error, MisconfigurationException):  # a callback that does not go with the stages
        return InputError(f"callbacks: {error}")
    text = f"{type(error).__name__}: {error}"
    frames = "".join(traceback.format_tb(error.__traceback__)) if isinstance(error, OSError) else ""
    for pattern, remedy in REMEDIES.items():
        if re.search(pattern, text + frames):
            first = (str(error).strip() or text).splitlines()[0]
            return InputError(f"{remedy} ({first}); newest checkpoint: {latest_checkpoint(run_dir)}")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return InputError(
            f"{run_dir} cannot be written to: {error.strerror}; the checkpoint before is whole: "
            f"{latest_checkpoint(run_dir)}. Make room, and go on with resume=last"
        )
    if state is not None and state.restoring:
        return InputError(
            f"resume={state.source} cannot be gone on from ({text}): give an earlier one of the run's "
            "checkpoints, as resume=runs/NAME/checkpoints/update_N.ckpt"
        )
    return None


class GracefulShutdown(Callback):
    """After the update under way, and a validation that is due, saves and ends the run.

    All processes end after the same update, whichever of them got the signal. A second Ctrl-C ends at once.
    Lightning's own handling of SIGTERM, which saves nothing, is set aside while training lasts.

    Args:
        name: the run's, for the message that says how to go on.
        saved_as: the checkpoint, for the same.
        max_minutes: time from the start of ``fit``, or None.
    """

    def __init__(self, name: str, saved_as: Path, *, max_minutes: float | None = None) -> None:
        self.name, self.saved_as, self.max_minutes = name, saved_as, max_minutes
        self.signum: int | None = None  # the signal that ended the run
        self._received = 0
        self._start = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._others: set[int | None] = set()  # processes that are none of this run's

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Starts the clock, and looks who has the signals before Lightning takes them."""
        self._start = time.monotonic()
        self._others = {each.pid for each in multiprocessing.active_children()}
        found = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in SIGNALS}
        hangup = getattr(signal, "SIGHUP", None)
        # nohup ignores SIGHUP; a shell ignores SIGINT for what runs in the background, which is no wish.
        self._before = {
            each: was
            for each, was in found.items()
            if was is not None and not (each == hangup and was == signal.SIG_IGN)
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the signals; only a program's main thread may."""
        if threading.current_thread() is threading.main_thread():
            for each in self._before:
                signal.signal(each, self._note)
        if trainer.received_sigterm:  # it came before; Lightning would end the run and save nothing
            self._received = signal.SIGTERM
            trainer._signal_connector.received_sigterm = False

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self._received:
            for each in multiprocessing.active_children():
                if each.pid not in self._others:
                    each.kill()  # loader processes take no milder signal
            signal.default_int_handler(signum, frame)
        self._received = signum

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Stops after an update's last batch, unless a validation comes first."""
        if cast(Stage, pl_module).completes_update and not validation_due(trainer):
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
        if threading.current_thread() is threading.main_thread():
            for each, handler in self._before.items():
                signal.signal(each, handler)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives the signals back, after all has been saved."""
        self._give_back()
        if trainer.world_size == 1:  # one that came after the last update ends what follows
            self.signum = self.signum or self._received or None

    def on_exception(self, *_: Any) -> None:
        """Gives the signals back."""
        self._give_back()

    def pass_on(self, trainer: pl.Trainer) -> None:
        """After ``fit``: what a signal was to end is more than this run.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            SystemExit: it was SIGTERM or SIGHUP; 143 and 129 are the codes of processes that they end.
        """
        if self.signum == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signum:
            # Lightning kills the first process when another one's code is not 0.
            raise SystemExit(128 + self.signum if trainer.is_global_zero else 0)
