"""``outcome.json`` in a run's folder: how the run ended, for whoever looks at many of them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.utilities import rank_zero_only

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.stages.faults import NonFiniteError

OUTCOME = "outcome.json"
State = Literal["running", "finished", "interrupted", "diverged", "failed"]


@contextmanager
def recorded(run_dir: Path) -> Iterator[None]:
    """Around training: notes that it runs, and at its end how it ended and how long it took.

    A process that is killed leaves ``running``.
    """
    start = time.monotonic()
    write_outcome(run_dir, "running")
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
