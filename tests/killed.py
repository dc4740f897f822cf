"""Runs and kills one training in a forked process, as often as it is asked to: the imports are paid once.

``python killed.py FOLDER SEED KILLS SIGNAL SETTING…`` prints one line of JSON per attempt:
``{"run", "started": whether training began, "from": the update that it went on from, "reached": updates done
when it ended, "killed", "saved": whether it ended by itself because of the signal}``.
SIGKILL goes to the run's first process, any other signal to all processes of its group, loaders included.
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


def send(process, signum):
    """The signal, as a machine's end or a user sends it."""
    os.kill(process, signum) if signum == signal.SIGKILL else os.killpg(process, signum)


def kill_at(call, run, signum):
    """This process is sent the signal at the n-th call that concerns the run's files."""
    left = [call]

    def hook(event, arguments):
        if (
            event in CALLS
            and os.getpid() == os.getpgrp()
            and any(str(run) in str(each) for each in arguments[:2])
        ):
            left[0] -= 1
            if left[0] == 0:
                send(os.getpid(), signum)

    sys.addaudithook(hook)


def attempt(run, configs, shared, signum=signal.SIGKILL, call=None, seconds=None):
    """The run's exit code: 0 if it came to its end. ``configs``: of one that begins, and that goes on."""
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if call is not None:
            kill_at(call, run, signum)
        folder = run / "checkpoints"
        begun = (folder / LAST).exists() or bool(earlier_checkpoints(folder))
        try:
            train(configs[begun], run, callbacks=[Progress(shared)])
        except (KeyboardInterrupt, SystemExit):
            os._exit(128 + signum)
        except BaseException as error:
            if "updates already" not in str(error):  # it was killed after its last checkpoint, and is over
                traceback.print_exc()
                os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):  # it is over
            send(process, signum)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, -signum, 128 + signum):
        sys.exit(f"the run ended with {code}")
    return code


def main(folder, seed, kills, signum, *overrides):
    torch.set_num_threads(1)
    chance, shared = random.Random(seed), mmap.mmap(-1, 3)

    def announce(run, code):
        values = {"started": bool(shared[2]), "from": shared[0], "reached": shared[1]}
        values |= {"killed": code != 0, "saved": code > 0}
        print(json.dumps({"run": run.name} | values))
        shared[:] = bytes(3)

    # Here, not in a process of its own: what is imported on the way is then there for all attempts.
    with contextlib.redirect_stdout(io.StringIO()):
        train(compose(*overrides), folder / "whole")
    configs = compose(*overrides), compose(*overrides, "resume=last")
    begun = time.monotonic()
    assert attempt(folder / "timed", configs, shared) == 0
    long = time.monotonic() - begun
    shared[:] = bytes(3)
    number = done = 0
    while done < kills:
        run = folder / f"run{number}"
        how = (
            {"call": chance.randint(1, 25)} if chance.random() < 0.5 else {"seconds": chance.uniform(0, long)}
        )
        code = attempt(run, configs, shared, signum, **how)
        announce(run, code)
        done += code != 0
        number += code == 0
    if code:
        announce(run, attempt(run, configs, shared))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), signal.Signals[sys.argv[4]], *sys.argv[5:])
