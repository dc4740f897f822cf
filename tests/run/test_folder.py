"""A run's folder belongs to one run at a time."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.folder import locked

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
