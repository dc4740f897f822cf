"""The networks that come with the package.

A file ``STAGE.safetensors`` or ``STAGE_SIZE.safetensors`` in this folder is a network of that name;
``MODEL_CARD.md`` says what they are. :func:`esrgan_lightning.weights.model_path` finds these and others.
"""

from pathlib import Path

from esrgan_lightning.errors import InputError, nearest

__all__ = ["bundled_names", "bundled_weights"]

#: Where they lie, with their card and ``figures.json``.
FOLDER = Path(__file__).parent


def bundled_names() -> list[str]:
    """The names of the bundled networks, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def bundled_weights(name: str) -> Path:
    """The file of a bundled network; InputError where :func:`bundled_names` has no such name.

    >>> bundled_weights("gan").name
    'gan.safetensors'
    """
    if name not in bundled_names():
        raise InputError(f"{name}: no bundled network has that name{nearest(name, bundled_names())}")
    return FOLDER / f"{name}.safetensors"
