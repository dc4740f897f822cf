"""A run's folder: who holds it, what lies in it, and ``outcome.json``, which says how the run ended."""

import errno
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.stages.faults import NonFiniteError

OUTCOME = "outcome.json"
State = Literal["running", "finished", "interrupted", "diverged", "failed"]
# What a run writes, and what overwrite=true deletes.
WRITTEN = (
    "checkpoints",
    "samples",
    "tensorboard",
    "wandb",
    "generator.safetensors",
    "features.safetensors",
    "metrics.csv",
    OUTCOME,
)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds a run's folder, which is made, for one run; the first of its processes does.

    The lock is the system's (POSIX, on the file ``.lock``): it ends with the process, however that ends, and
    loader processes do not inherit it.

    Raises:
        InputError: another run holds the folder, or it cannot be written to.
    """
    if os.name != "posix" or int(getattr(rank_zero_only, "rank", False)):
        yield
        return
    import fcntl

    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{run_dir} cannot be written to: {error.strerror}; choose another name=, or another folder to "
            "call from"
        ) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                raise InputError(
                    f"{run_dir} is in use by another run ({file.read(200).strip()}): wait for it, end it, or "
                    "choose another name="
                ) from None
            rank_zero_warn(
                f"{run_dir} cannot be locked ({error.strerror}): see that no other run writes there"
            )
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@rank_zero_only
def clear(run_dir: Path) -> None:
    """Deletes what an earlier run has written, and nothing else."""
    for path in (
        *(run_dir / name for name in WRITTEN),
        *run_dir.glob("nonfinite_update_*.safetensors"),
        *run_dir.glob("fit-profile*"),
    ):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@rank_zero_only
def clear_partial(run_dir: Path) -> None:
    """Deletes what a killed run was writing: files under temporary names, which nobody reads."""
    for folder in (run_dir, run_dir / "checkpoints", run_dir / "samples"):
        for path in (*folder.glob(".*.part"), *folder.glob(".*.tmp")):
            path.unlink()


@rank_zero_only
def copy_resume_artifacts(source: Path, run_dir: Path, *, keep_until: int) -> None:
    """Copies figures and best checkpoint to a run of another name that goes on from update ``keep_until``."""
    wanted = [*source.glob("metrics.csv"), *source.glob("checkpoints/best_update_*.ckpt")]
    for path in wanted:
        number = re.search(r"\d+", path.stem)
        if number is None or int(number[0]) <= keep_until:  # a later best is not this run's
            write_whole(run_dir / path.relative_to(source), path.read_bytes())


def latest_checkpoint(run_dir: Path, pattern: str = "*.ckpt") -> str:
    """The newest checkpoint's path, for a message."""
    files = sorted((run_dir / "checkpoints").glob(pattern), key=lambda path: path.stat().st_mtime)
    return str(files[-1]) if files else "none was written yet"


@contextmanager
def recorded(run_dir: Path, *, resumed: bool = False) -> Iterator[None]:
    """Around training: notes that it runs, and at its end how it ended and how long it took in all.

    A process that is killed leaves ``running``.
    """
    before = read_outcome(run_dir).get("seconds") if resumed else None
    start = time.monotonic() - (before if isinstance(before, (int, float)) else 0)
    write_outcome(run_dir, "running", seconds=time.monotonic() - start if resumed else None)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        write_outcome(run_dir, "interrupted", seconds=time.monotonic() - start)
        raise
    except Exception as error:
        diverged = isinstance(error.__cause__, NonFiniteError) or "NonFiniteError" in str(error.__cause__)
        state: State = "diverged" if isinstance(error, InputError) and diverged else "failed"
        write_outcome(run_dir, state, error=error, seconds=time.monotonic() - start)
        raise
    write_outcome(run_dir, "finished", seconds=time.monotonic() - start)


def read_outcome(run_dir: Path) -> dict[str, Any]:
    """What stands in the file; empty where there is none that can be read."""
    try:
        content = json.loads((run_dir / OUTCOME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


@rank_zero_only
def write_outcome(
    run_dir: Path, state: State, *, error: BaseException | None = None, seconds: float | None = None
) -> None:
    """Replaces the file; of an error the words are kept."""
    content: dict[str, Any] = {"state": state}
    if error is not None:
        content["error"] = str(error).strip() or type(error).__name__
    if seconds is not None:
        content["seconds"] = round(seconds, 3)
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    try:
        write_whole(run_dir / OUTCOME, text.encode(errors="backslashreplace"))
    except OSError:
        if error is None:
            raise
        # A full disk has room for the file that is there, and what went wrong is told before this.
        with suppress(OSError):
            (run_dir / OUTCOME).write_text(text, encoding="utf-8", errors="backslashreplace")
