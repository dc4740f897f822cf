"""What ends a run is told with its remedy."""

import multiprocessing
import signal
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.shutdown import GracefulShutdown, as_user_errors
from esrgan_lightning.run.state import RunState
from esrgan_lightning.stages.faults import NonFiniteError

WORKER = (
    "Caught {} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n{}"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. "), "/dev/shm.*shm-size"),
        (RuntimeError(WORKER.format("RuntimeError", "unable to allocate shared memory(shm)")), "shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "memory is full: .*batch"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "died: data.num_workers=0"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 536"), "memory is full: .*update_2.ckpt"),
        (MemoryError(), "memory is full: .*batch_size"),
        (OSError(28, "No space left on device"), "cannot be written to: No space .*update_2.ckpt"),
        (NonFiniteError("update 3: nan"), "update 3: nan; last good checkpoint: .*update_2.ckpt"),
        (NonFiniteError("update 3: validation"), "last good checkpoint: none"),
        (
            InputError(WORKER.format("InputError", "esrgan_lightning.errors.InputError: a.png is damaged")),
            "^a.png is damaged$",
        ),
    ],
)
def test_what_a_user_can_mend_is_told(tmp_path, error, said):
    """Breaks if a traceback, or another remedy, answers a fault of the machine."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/update_2.ckpt").touch()
    with pytest.raises(InputError, match=said), as_user_errors(tmp_path):
        raise error


def test_a_bug_stays_one(tmp_path):
    """Breaks if a defect is blamed on the user; a checkpoint breaks its own restoring alone."""
    state = RunState({}, Path("last.ckpt"))
    with (
        pytest.raises(InputError, match=r"resume=last.ckpt cannot .*KeyError"),
        as_user_errors(tmp_path, state),
    ):
        raise KeyError("loops")
    state.restoring = False
    for each in (None, state, RunState({})):
        with pytest.raises(KeyError), as_user_errors(tmp_path, each):
            raise KeyError("loops")


def test_ctrl_c_stays_one_where_cleaning_up_fails(tmp_path):
    """Breaks if the checkpoint that a run goes on from is blamed for it."""

    @as_user_errors(tmp_path, RunState({}, Path("last.ckpt")))
    def fit():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("Please call `iter(combined_loader)` first.")

    with pytest.raises(KeyboardInterrupt):
        fit()


def test_a_run_under_nohup_does_not_hear_the_terminal_close(tmp_path):
    """Breaks if what the user has had ignored ends the run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = GracefulShutdown("a", tmp_path)
        stop.setup(None, None, "fit")
        stop.on_train_start(pl.Trainer(logger=False, accelerator="cpu"), None)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == stop._note
        stop._give_back()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        stop.setup(None, None, "fit")
        stop.on_train_start(pl.Trainer(logger=False, accelerator="cpu"), None)
        assert signal.getsignal(signal.SIGHUP) == stop._note
        stop._give_back()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_before_the_first_update_is_answered_as_any(tmp_path):
    """Lightning has it then, and would end the run with nothing saved."""
    trainer, stop = pl.Trainer(logger=False, accelerator="cpu"), GracefulShutdown("a", tmp_path)
    stop.setup(trainer, None, "fit")
    trainer._signal_connector.received_sigterm = True
    stop.on_train_start(trainer, None)
    stop._give_back()
    assert (stop._received, trainer.received_sigterm) == (signal.SIGTERM, False)


def test_a_second_ctrl_c_ends_this_runs_processes_and_no_others(tmp_path):
    """Breaks if a program's own processes, or another run's loaders, are killed with this run's."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=time.sleep, args=(600,)) for _ in range(2)]
    stop = GracefulShutdown("a", tmp_path)
    processes[0].start()
    try:
        stop.setup(None, None, "fit")
        processes[1].start()
        stop._note(signal.SIGINT, None)
        with pytest.raises(KeyboardInterrupt):
            stop._note(signal.SIGINT, None)
        processes[1].join(60)
        assert processes[1].exitcode == -signal.SIGKILL
        assert processes[0].is_alive()
    finally:
        for each in processes:
            each.kill()
            each.join()
