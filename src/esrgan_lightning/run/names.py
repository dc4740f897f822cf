"""A run's name and whether its folder is free, told before torch is loaded."""

import re
from pathlib import Path

from esrgan_lightning.errors import InputError


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
