"""Models by name: those of the package, those of other projects, those on the Hugging Face Hub.

Nothing here imports torch before a file is fetched: shells ask for the names while somebody types.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from esrgan_lightning.bundled import bundled_names, bundled_weights
from esrgan_lightning.errors import InputError, nearest
from esrgan_lightning.weights.hub import HUB, fetch_hub
from esrgan_lightning.weights.public import PUBLIC, fetch_public


def model_names() -> list[str]:
    """Every name: of the bundled networks, then of the public ones.

    >>> model_names()[:2], "RealESRGAN_x4plus" in model_names()
    (['gan', 'psnr'], True)
    """
    return [*bundled_names(), *PUBLIC]


def is_name(model: str) -> bool:
    """Whether a model argument is a name or an address on the Hub, and not a path.

    >>> is_name("gan"), is_name("hf:user/repo"), is_name("./gan")
    (True, True, False)
    """
    return model in model_names() or model.startswith(HUB)


def model_path(model: str | os.PathLike[str], *, key: str = "", also: Sequence[str] = ()) -> Path:
    """The file that a model argument means: a network by its name or address, else a path.

    A name comes before a file or folder of that very name, which is ``./psnr``: what a command does depends
    on no file that happens to lie beside it.

    Args:
        model: A string may be a bundled network's name, that of a public one (:data:`PUBLIC`, downloaded at
            first use) or ``hf:USER/REPO[@REVISION]`` (likewise); a ``Path`` is a path always.
        key: How an error message begins, as ``init=``.
        also: Further words that are known where the model is asked for, as ``auto``.

    Raises:
        InputError: A single word that is neither a name nor a path that exists, or a network that cannot be
            fetched. That other paths exist is not checked.

    >>> model_path("gan") == bundled_weights("gan"), model_path("./gan"), model_path(Path("gan")).parts
    (True, PosixPath('gan'), ('gan',))
    """
    if not isinstance(model, str):
        return Path(model)
    if model in bundled_names():
        return bundled_weights(model)
    try:
        if model in PUBLIC:
            return fetch_public(model)
        if model.startswith(HUB):
            return fetch_hub(model)
    except InputError as error:
        raise InputError(f"{key}{error}") from error
    path = Path(model).expanduser()
    if model == path.name and not path.suffix and not path.exists():
        known = [*model_names(), *also]
        raise InputError(f"{key}{model}: neither a file nor a model has that name{nearest(model, known)}")
    return path
