"""A run's folder: its name, what may already lie in it, what a resumed run finds there."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights import LINEAGE_KEY
from esrgan_lightning.weights.state import differences

# What a run writes, and what overwrite=true deletes.
WRITTEN = ("checkpoints", "samples", "tensorboard", "wandb", "generator.safetensors", "metrics.csv")


class Saved(NamedTuple):
    """What a resumed run has to know of its checkpoint."""

    path: Path
    updates: int
    provenance: dict[str, Any]
    state: dict[str, Tensor]  # names and shapes alone, on the meta device


def check_name(name: object) -> None:
    """Refuses names that could not be given back on the command line as they are.

    Raises:
        InputError: a character that Hydra reads as syntax, as in ``init=runs/a=b/generator.safetensors``.
    """
    if not re.fullmatch(r"[\w./@+ -]*[\w.]", str(name), flags=re.ASCII):
        raise InputError(
            f"name={name}: use letters, digits and . _ - / only: anything else has a meaning on Hydra's "
            "command line, and init=runs/NAME/… would not be understood"
        )


def check_free(run_dir: Path) -> None:
    """Refuses a folder in which another run has left checkpoints.

    Raises:
        InputError: there are some.
    """
    if any((run_dir / "checkpoints").glob("*.ckpt")):
        raise InputError(
            f"{run_dir} already holds checkpoints: continue with resume=last, choose another name=, "
            "or start anew with overwrite=true"
        )


@rank_zero_only
def clear(run_dir: Path) -> None:
    """Deletes what an earlier run has written, and nothing else."""
    for path in (run_dir / name for name in WRITTEN):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def read_checkpoint(resume: str | Path, run_dir: Path) -> Saved:
    """Finds and reads the checkpoint that a run continues from.

    Args:
        resume: ``last``, or a file.
        run_dir: the run's folder.

    Raises:
        InputError: there is none, or it is no checkpoint of a training run.
    """
    path = run_dir / "checkpoints" / "last.ckpt" if resume == "last" else Path(resume)
    if not path.is_file():
        raise InputError(f"resume={resume}: no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a broken or hostile file fails in any of the reader's own ways
        raise InputError(f"resume={path}: not readable as a checkpoint ({type(error).__name__})") from error
    if not isinstance(content, Mapping) or not {"global_step", LINEAGE_KEY, "state_dict"} <= set(content):
        raise InputError(f"resume={path} is no checkpoint of a training run; init= starts from mere weights")
    shapes = {name: tensor.to("meta") for name, tensor in content["state_dict"].items()}
    return Saved(path, int(content["global_step"]), content[LINEAGE_KEY]["provenance"], shapes)


def check_continues(saved: Saved, state: Mapping[str, Tensor], *, max_updates: int) -> None:
    """Refuses to continue a run that is over, or another run than this.

    Args:
        saved: the checkpoint.
        state: the state dict of the stage that is to be continued.
        max_updates: where the run is to end.

    Raises:
        InputError: nothing is left to do, or names or shapes differ.
    """
    if saved.updates >= max_updates:
        raise InputError(
            f"resume={saved.path} has made {saved.updates} updates already: give a trainer.max_updates "
            f"above that (it is {max_updates})"
        )
    if difference := differences(state, saved.state):
        raise InputError(
            f"resume={saved.path} is of another stage or network: {difference}; resume= takes the settings "
            "of the run that it continues, init= starts a new one from its weights"
        )


def latest_checkpoint(run_dir: Path) -> str:
    """The newest checkpoint's path, for a message."""
    files = sorted((run_dir / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    return str(files[-1]) if files else "none was written yet"
