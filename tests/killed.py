"""Runs and kills one training in a forked process, as often as it is asked to: the imports are paid once.

``python killed.py FOLDER SEED KILLS`` prints one line of JSON per attempt:
``{"run", "started": whether training began, "from": the update that it went on from, "reached": updates done
when it ended, "killed"}``.
Half of the attempts are killed after a random time, half at a random one of the calls by which files of the
run are renamed and removed: that is where a state could be left in pieces.
"""

import contextlib
import io
import json
import mmap
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from pytorch_lightning.callbacks import Callback

from esrgan_lightning.config import compose
from esrgan_lightning.run.checkpoints import LAST, earlier_checkpoints
from esrgan_lightning.training import train

CALLS = ("os.rename", "os.remove")


class Progress(Callback):
    """Tells the parent how far the run has come, through memory that outlives it."""

    def __init__(self, shared):
        self.shared = shared

    def on_train_start(self, trainer, stage):
        self.shared[0] = self.shared[1] = trainer.global_step
        self.shared[2] = True

    def on_train_batch_end(self, trainer, *_):
        self.shared[1] = trainer.global_step


def kill_at(call, run):
    """This process dies at the n-th call that concerns the run's files."""
    left = [call]

    def hook(event, arguments):
        if event in CALLS and any(str(run) in str(each) for each in arguments[:2]):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def attempt(run, configs, shared, call=None, seconds=None):
    """True if the run came to its end. ``configs``: of a run that begins, and of one that goes on."""
    process = os.fork()
    if process == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if call is not None:
            kill_at(call, run)
        folder = run / "checkpoints"
        begun = (folder / LAST).exists() or bool(earlier_checkpoints(folder))
        try:
            train(configs[begun], run, callbacks=[Progress(shared)])
        except BaseException as error:
            if "updates already" not in str(error):  # it was killed after its last checkpoint, and is over
                traceback.print_exc()
                os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"the run ended with {code}")
    return code == 0


def main(folder, seed, kills, *overrides):
    torch.set_num_threads(1)
    chance, shared = random.Random(seed), mmap.mmap(-1, 3)

    def announce(run, over):
        values = {"started": bool(shared[2]), "from": shared[0], "reached": shared[1], "killed": not over}
        print(json.dumps({"run": run.name} | values))
        shared[:] = bytes(3)

    # Here, not in a process of its own: what is imported on the way is then there for all attempts.
    with contextlib.redirect_stdout(io.StringIO()):
        train(compose(*overrides), folder / "whole")
    configs = compose(*overrides), compose(*overrides, "resume=last")
    begun = time.monotonic()
    assert attempt(folder / "timed", configs, shared)
    long = time.monotonic() - begun
    shared[:] = bytes(3)
    number = done = 0
    while done < kills:
        run = folder / f"run{number}"
        how = (
            {"call": chance.randint(1, 25)} if chance.random() < 0.5 else {"seconds": chance.uniform(0, long)}
        )
        over = attempt(run, configs, shared, **how)
        announce(run, over)
        done += not over
        number += over
    if not over:
        announce(run, attempt(run, configs, shared))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
