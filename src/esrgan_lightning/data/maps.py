"""Segmentation probability maps of photos, on disk: one safetensors file for each photo, of its LR's size."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import write_whole

Maps = NDArray[np.uint8]  # (K, h, w)
_KEY = "maps"
#: What the probabilities of a pixel add up to.
WHOLE = 255


def quantised(probabilities: Tensor) -> Tensor:
    """Probabilities as bytes that add up to 255 at every pixel: largest remainders are rounded up.

    Args:
        probabilities: (…,K,h,w), not negative; they need not be normalised.

    Returns:
        (…,K,h,w) uint8.

    Raises:
        InputError: a value is negative or not finite, or a pixel has no probability at all.

    Example:
        >>> quantised(torch.tensor([1.0, 1.0, 1.0]).view(3, 1, 1)).flatten().tolist()
        [85, 85, 85]
    """
    sums = probabilities.sum(-3, keepdim=True)
    if not bool((probabilities >= 0).all() and (sums > 0).all() and sums.isfinite().all()):
        raise InputError("probabilities must be finite, at least 0, and not all 0 at a pixel")
    exact = probabilities.double() / sums.double() * WHOLE
    floors = exact.floor()
    missing = (WHOLE - floors.sum(-3, keepdim=True)).round()
    rank = (exact - floors).argsort(dim=-3, descending=True, stable=True).argsort(dim=-3)
    return (floors + (rank < missing)).to(torch.uint8)


def write_maps(path: str | Path, probabilities: Tensor, classes: Sequence[str]) -> None:
    """Writes the maps of a photo, whole or not at all.

    Args:
        path: ``FOLDER/NAME.safetensors`` for the photo ``NAME.png``; an existing file is replaced.
        probabilities: (K,h,w) of the LR photo's size, as for :func:`quantised`.
        classes: the K names.

    Raises:
        InputError: another shape, ending or values.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: maps are written as .safetensors: give a name with that ending")
    if probabilities.ndim != 3 or len(probabilities) != len(classes):
        raise InputError(
            f"{path}: maps of {len(classes)} classes are (K,h,w), and these are {tuple(probabilities.shape)}"
        )
    maps = quantised(probabilities).cpu().contiguous()
    write_whole(path, save({_KEY: maps}, metadata={"classes": json.dumps(list(classes))}))


def path_of(folder: Path, name: str) -> Path:
    """The file of a photo's maps; ``name`` is the photo's path below its own folder.

    Raises:
        InputError: the name leads out of the folder.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or not place.name or ".." in place.parts:
        raise InputError(f"{name}: a photo's name leads out of its folder")
    return folder / place.with_suffix(".safetensors")


def read_crop(path: Path, top: int, left: int, side: int) -> Maps:
    """A square of the maps in a file that :func:`read_maps` has found in order: (K,side,side) uint8."""
    with safe_open(path, framework="np") as file:
        part: Maps = file.get_slice(_KEY)[:, top : top + side, left : left + side]
    return part


def read_maps(path: Path, classes: Sequence[str], height: int, width: int) -> Maps:
    """The maps in a file, (K,h,w) uint8, of these classes in their order and of the LR photo's size.

    Raises:
        InputError: the file is missing or no safetensors; it holds no maps, those of other classes or of
            another size, or a pixel whose probabilities do not add up to 255.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: each photo needs its maps; `esrgan segment` makes them")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if _KEY not in file.keys():  # noqa: SIM118 (no mapping)
                raise InputError(f"{path} holds no tensor {_KEY!r}: make it with `esrgan segment`")
            part = file.get_slice(_KEY)
            kind, shape = part.get_dtype(), tuple(part.get_shape())
            _check_classes(path, metadata, classes)
            if (kind, shape) != ("U8", (len(classes), height, width)):
                raise InputError(
                    f"{path}: its maps are {kind} {shape}, and the LR photo asks for U8 "
                    f"{(len(classes), height, width)} (K,h,w): make them of the same photo, at the same scale"
                )
            maps: Maps = part[:]
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not readable as maps: {str(error).splitlines()[0]}") from error
    sums = maps.sum(0, dtype=np.int64)
    if (sums != WHOLE).any():
        row, column = np.argwhere(sums != WHOLE)[0].tolist()
        raise InputError(
            f"{path}: at row {row}, column {column} the {len(classes)} probabilities add up to "
            f"{sums[row, column]}, not to {WHOLE}: normalise them (`esrgan segment` and write_maps do)"
        )
    return maps


def _check_classes(path: Path, metadata: dict[str, str], classes: Sequence[str]) -> None:
    try:
        stated = json.loads(metadata.get("classes", "null"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its classes are no list of names ({error})") from error
    if stated != list(classes):
        raise InputError(
            f"{path}: its classes are {stated}, and the generator's {list(classes)}: make the maps for "
            "these, or give generator.classes as in the file"
        )
