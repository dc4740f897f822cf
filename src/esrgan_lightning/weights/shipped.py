"""The networks that come with the package."""

from pathlib import Path
from typing import Literal

from esrgan_lightning.errors import InputError

_BOX = Path(__file__).with_name("box")


def boxed(name: Literal["psnr", "gan"]) -> Path:
    """The file of a small network for ×4: trained for fidelity, or with a GAN from there.

    Both are of one kind, so that they can be interpolated. ``box/MODEL_CARD.md`` beside them says on what
    they were trained, under which licences, what they reach and what they cannot do.

    Raises:
        InputError: The installed package lacks it.
    """
    path = _BOX / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"{path} is missing: install the package anew, or give a file of your own")
    return path
