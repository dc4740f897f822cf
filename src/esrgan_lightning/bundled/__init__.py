"""The networks that come with the package, by name; ``MODEL_CARD.md`` beside them says what they are.

A file ``STAGE.safetensors`` or ``STAGE_SIZE.safetensors`` in this folder is a bundled network of that name.
Nothing here imports torch: shells ask for the names while somebody types.
"""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from esrgan_lightning.errors import InputError

__all__ = ["bundled_names", "bundled_weights", "model_path"]

#: Where they lie, with their card and ``figures.json``.
FOLDER = Path(__file__).parent


def bundled_names() -> list[str]:
    """The names of the bundled networks, sorted.

    >>> {"gan", "psnr"} <= set(bundled_names())
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def bundled_weights(name: str) -> Path:
    """The file of a bundled network.

    Args:
        name: Among :func:`bundled_names`. Networks of one size can be interpolated: ``gan`` was trained from
            ``psnr``.

    Raises:
        InputError: There is none of that name.

    >>> bundled_weights("gan").name
    'gan.safetensors'
    """
    if name not in bundled_names():
        raise InputError(f"{name}: no bundled network has that name{_remedy(name, bundled_names())}")
    return FOLDER / f"{name}.safetensors"


def model_path(model: str | os.PathLike[str], *, key: str = "", also: Sequence[str] = ()) -> Path:
    """The file that a model argument means: a bundled network by its name, else a path.

    The name comes before a file or folder of that very name, which is ``./psnr``.

    Args:
        model: A string may be a name; a ``Path`` is a path always.
        key: How an error message begins, as ``init=``.
        also: Further words that are known where the model is asked for, as ``auto``.

    Raises:
        InputError: A single word that is neither a bundled network nor a path that exists. That other paths
            exist is not checked.

    >>> model_path("gan") == bundled_weights("gan"), model_path("./gan"), model_path(Path("gan")).parts
    (True, PosixPath('gan'), ('gan',))
    """
    if not isinstance(model, str):
        return Path(model)
    if model in bundled_names():
        return bundled_weights(model)
    path = Path(model).expanduser()
    if model == path.name and not path.suffix and not path.exists():
        known = [*bundled_names(), *also]
        raise InputError(
            f"{key}{model}: neither a file nor a bundled network has that name{_remedy(model, known)}"
        )
    return path


def _remedy(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known)}"
