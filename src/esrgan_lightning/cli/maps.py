"""The maps of the pictures that are upscaled, for a model that takes maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from esrgan_lightning.cli.targets import targets
from esrgan_lightning.data.maps import read_maps
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import conditions_of


@final
@dataclass(frozen=True)
class MapFiles:
    """The file of each picture's maps, and the classes that they must have."""

    paths: Mapping[Path, Path]
    classes: Sequence[str]

    def read(self, source: Path, pixels: Tensor) -> Tensor:
        """The maps of a picture (C,h,w), (K,h,w) uint8.

        Raises:
            InputError: as :func:`~esrgan_lightning.data.maps.read_maps`.
        """
        height, width = pixels.shape[-2:]
        return torch.from_numpy(read_maps(self.paths[source], self.classes, height, width))


def map_files(
    generator: nn.Module,
    folder: Path | None,
    inputs: Sequence[Path],
    sources: Sequence[Path],
    *,
    piped: bool = False,
) -> MapFiles | None:
    """Finds the maps of all pictures before any work; None for a generator that takes none.

    Args:
        generator: which says by its classes what it takes.
        folder: ``--maps``: a file for each picture, in subfolders as the pictures are.
        inputs: as the user gave them.
        sources: the pictures found there.
        piped: whether the picture comes from stdin.

    Raises:
        InputError: maps are missing, or not wanted.
    """
    classes = conditions_of(generator)
    if folder is not None and not classes:
        raise InputError("the model takes no maps: leave out --maps")
    if not classes:
        return None
    if folder is None or piped:
        raise InputError(
            f"the model takes maps of {', '.join(classes)}: give --maps DIR, of `esrgan segment --lr`, "
            "for pictures in files"
        )
    paths = dict(targets(inputs, folder, "", ".safetensors"))
    for source in sources:
        if not paths[source].is_file():
            raise InputError(f"{paths[source]} is missing, the maps of {source}: see `esrgan segment --lr`")
    return MapFiles(paths, classes)
