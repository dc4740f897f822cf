"""What is trained and validated on: photos in files, photos in packs, and sets of the latter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esrgan_lightning.data.packfile import Pack, Pixels
from esrgan_lightning.ops import image_size, read_rgb


@dataclass(frozen=True)
class Photo:
    """A photo on disk: its HR file, its LR file where one is given, and the HR size in pixels.

    ``below`` is the folder that it was found in, if any.
    """

    hr: Path
    height: int
    width: int
    lr: Path | None = None
    below: Path | None = None

    @property
    def name(self) -> str:
        """Its path below its folder."""
        return self.hr.relative_to(self.below or self.hr.parent).as_posix()

    @property
    def place(self) -> str:
        """Its path below its folder, without suffix."""
        return PurePosixPath(self.name).with_suffix("").as_posix()

    def read_hr(self) -> Tensor:
        """(3,H,W) uint8."""
        return read_rgb(self.hr)

    def read_lr(self) -> Tensor | None:
        """(3,h,w) uint8, where it is given."""
        return None if self.lr is None else read_rgb(self.lr)


def photos_from(paths: Sequence[Path], below: Path | None = None) -> list[Photo]:
    """Reads the size of each file, found below a folder, from its header.

    Raises:
        InputError: a file is unreadable (named).
    """
    return [Photo(path, *image_size(path), below=below) for path in paths]


@dataclass(frozen=True)
class PackedPhoto:
    """A photo in a pack, with its LR in another where one is given."""

    pack: Pack
    index: int
    lr_pack: Pack | None = None
    lr_index: int = 0

    @property
    def name(self) -> str:
        """The path of the file that it was, below its folder."""
        return self.pack.names[self.index]

    @property
    def place(self) -> str:
        """Its path below its folder, without suffix."""
        return PurePosixPath(self.name).with_suffix("").as_posix()

    @property
    def height(self) -> int:
        """Of the HR, in pixels."""
        return int(self.pack.sizes[self.index, 0])

    @property
    def width(self) -> int:
        """Of the HR, in pixels."""
        return int(self.pack.sizes[self.index, 1])

    def read_hr(self) -> Tensor:
        """(3,H,W) uint8."""
        return _tensor(self.pack.photo(self.index))

    def read_lr(self) -> Tensor | None:
        """(3,h,w) uint8, where it is given."""
        return None if self.lr_pack is None else _tensor(self.lr_pack.photo(self.lr_index))


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one pack to cut patches from, or some of them; beside them the LR, where it is given.

    Args:
        pack: the HR photos.
        index: which of them; None for all.
        lr_pack: LR photos that belong to them.
        lr_index: which photo of ``lr_pack`` belongs to each of ``index``.
    """

    pack: Pack
    index: Sequence[int] | None = None
    lr_pack: Pack | None = None
    lr_index: Sequence[int] | None = None

    @cached_property
    def chosen(self) -> NDArray[np.int64]:
        """The numbers of the photos in the pack."""
        return np.arange(len(self.pack)) if self.index is None else np.asarray(self.index, np.int64)

    @cached_property
    def chosen_lr(self) -> NDArray[np.int64]:
        """The numbers of their LR photos."""
        return self.chosen if self.lr_index is None else np.asarray(self.lr_index, np.int64)

    def __len__(self) -> int:
        return len(self.chosen)

    def part(self, places: Sequence[int]) -> "PhotoSet":
        """Some of the photos, by their places in this set."""
        where = np.asarray(places, np.int64)
        return PhotoSet(self.pack, self.chosen[where].tolist(), self.lr_pack, self.chosen_lr[where].tolist())

    def photos(self) -> list[PackedPhoto]:
        """One by one, for validation."""
        return [
            PackedPhoto(self.pack, int(hr), self.lr_pack, int(lr))
            for hr, lr in zip(self.chosen, self.chosen_lr, strict=True)
        ]


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
