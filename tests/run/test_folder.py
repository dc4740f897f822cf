"""A run's folder belongs to one run at a time; outcome.json says how that ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.folder import locked, recorded, write_outcome
from esrgan_lightning.stages.faults import NonFiniteError

HOLD = """
import os, sys, time
from pathlib import Path
from esrgan_lightning.run.folder import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:  # as a loader process, which outlives a run that is killed
        time.sleep(60)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_stale_lock_is_none(tmp_path):
    """Breaks if two runs write one folder, or a killed one, or its loader processes, keep it for ever."""
    run = tmp_path / "run"
    with locked(run), locked(tmp_path / "other"):
        pass
    command = [sys.executable, "-c", HOLD, run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as holder:
        try:
            assert int(holder.stdout.readline()) == holder.pid
            who = rf"run is in use by another run \(pid {holder.pid} on {socket.gethostname()}\): .*name="
            with pytest.raises(InputError, match=who), locked(run):
                pass
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
            time.sleep(0.1)
            with locked(run):
                pass
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    """Breaks if a long job ends in a traceback where its first file is to be written."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file/run", tmp_path / ("a" * 300)):
        with pytest.raises(InputError, match=f"{folder} cannot be written to: "), locked(folder):
            pass


def outcome(folder):
    return json.loads((folder / "outcome.json").read_text())


def test_finished(tmp_path):
    """Breaks if a killed run looks finished, or a finished one looks as if it ran."""
    with recorded(tmp_path):
        assert outcome(tmp_path) == {"state": "running"}
    assert outcome(tmp_path)["state"] == "finished"
    assert outcome(tmp_path)["seconds"] >= 0


def test_a_resumed_run_counts_all_its_time(tmp_path):
    """Also one that was killed in between; a run that starts over counts anew."""
    write_outcome(tmp_path, "interrupted", seconds=100)
    with recorded(tmp_path, resumed=True):
        assert outcome(tmp_path)["seconds"] >= 100
    assert outcome(tmp_path)["seconds"] >= 100
    with recorded(tmp_path):
        pass
    assert outcome(tmp_path)["seconds"] < 100


def diverge():
    try:
        raise NonFiniteError("loss is nan")
    except NonFiniteError as error:
        raise InputError("20 updates in a row were not finite") from error


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (lambda: fail(KeyboardInterrupt()), "interrupted"),
        (lambda: fail(SystemExit(143)), "interrupted"),
        (lambda: fail(RuntimeError("out of memory")), "failed"),
        (lambda: fail(InputError("the disk is full")), "failed"),
        (diverge, "diverged"),
    ],
)
def test_how_it_ended(tmp_path, ends, state):
    """Breaks if the error is swallowed, or told as another kind."""
    with pytest.raises(BaseException), recorded(tmp_path):  # noqa: B017, PT011
        ends()
    assert outcome(tmp_path)["state"] == state
    assert ("error" in outcome(tmp_path)) == (state in ("failed", "diverged"))


def test_a_full_disk_does_not_hide_what_went_wrong(tmp_path, monkeypatch):
    """Breaks if the message is that of the outcome that cannot be written, or the run seems to go on."""

    def full(*_):
        raise OSError(28, "No space left on device")

    def end():
        monkeypatch.setattr(Path, "write_bytes", full)
        fail(InputError("the disk is full"))

    with pytest.raises(InputError, match="the disk is full"), recorded(tmp_path):
        end()
    assert outcome(tmp_path)["state"] == "failed"
