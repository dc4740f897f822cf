"""Photos to train and validate on: in files and packs, embedded, of a folder, of a pair of folders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esrgan_lightning.data.packfile import Pack, Pixels
from esrgan_lightning.data.pairing import pair_files
from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.ops import image_size, list_images, read_rgb, write_image
from esrgan_lightning.ops.files import as_text


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
        return as_text(self.hr.relative_to(self.below or self.hr.parent))

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


T = TypeVar("T")

#: A folder, or several.
Folders = str | Path | Sequence[str | Path]

# Photos inside the scikit-image and scikit-learn wheels: (package, folder, file).
_SKIMAGE = (
    "astronaut.png coffee.png rocket.jpg hubble_deep_field.jpg motorcycle_left.png retina.jpg ihc.png "
    "brick.png grass.png gravel.png camera.png"
)
TRAIN_PHOTOS = (
    *(("skimage", "data", name) for name in _SKIMAGE.split()),
    ("sklearn", "datasets/images", "china.jpg"),
)
HELD_OUT_PHOTOS = (("skimage", "data", "chelsea.png"), ("sklearn", "datasets/images", "flower.jpg"))


def _inside_package(package: str, folder: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise needs_extra("data=photos, unlike data=folder data.train_dir=DIR, needs", "demo")
    path = Path(spec.submodule_search_locations[0], folder, name)
    if not path.is_file():
        raise InputError(f"the installed {package} has no photo {name}: use data=folder data.train_dir=DIR")
    return path


def embedded_photos(files: Sequence[tuple[str, str, str]] = TRAIN_PHOTOS) -> list[Photo]:
    """The real photos that the scikit-image and scikit-learn wheels carry."""
    return photos_from([_inside_package(*file) for file in files])


_SIDE, _TILE = 384, 24


def color_chart() -> Tensor:
    """All colours, of which photos hold few: (3,384,1152) uint8, hues and 512 flat tiles.

    The hues go from white over full colour to black. The tiles are the RGB cube in eight steps a side, so
    ordered that neighbours differ.
    """
    x, y = torch.arange(_SIDE) / _SIDE, torch.arange(_SIDE)[:, None] / (_SIDE - 1)
    hues = torch.stack([((x + shift) % 1 * 6 - 3).abs() - 1 for shift in (0.0, 2 / 3, 1 / 3)]).clamp(0, 1)
    white, black = (1 - 2 * y).clamp(0, 1), (2 * y - 1).clamp(0, 1)
    bands = (white + (1 - white) * hues[:, None]) * (1 - black)
    order = torch.arange(512) * 197 % 512
    cube = torch.stack([order // 64, order // 8 % 8, order % 8]) / 7
    rows = _SIDE // _TILE
    tiles = cube.reshape(3, rows, -1).repeat_interleave(_TILE, 1).repeat_interleave(_TILE, 2)
    return (torch.cat([bands, tiles], 2) * 255).round().byte()


def color_chart_file(folder: Path) -> Path:
    """The chart as ``color_chart.png`` in this folder, where it is written once."""
    path = folder / "color_chart.png"
    if not path.is_file():
        write_image(path, color_chart())
    return path


def folders_of(given: Folders) -> list[Path]:
    """One folder, or several."""
    if not given:
        raise InputError(f"a folder is {given!r}: give data.train_dir=DIR, or whichever the data ask for")
    return [Path(given)] if isinstance(given, str | Path) else [Path(each) for each in given]


def folder_photos(given: Folders) -> list[Photo]:
    """All images below a folder, in the order of their paths; of several, named with their folders."""
    folders = folders_of(given)
    several = len(folders) > 1
    return [
        photo
        for folder in folders
        for photo in photos_from(list_images(folder), folder.parent if several else folder)
    ]


def hold_out(photos: Sequence[T], count: int) -> tuple[list[T], list[T]]:
    """Splits off ``count`` photos, evenly spaced in the list: (training, validation)."""
    if count and not 0 < count < len(photos):
        raise InputError(
            f"cannot hold out {count} of {len(photos)} photos for validation: "
            "give more photos, or a folder for validation (data.val_dir=DIR)"
        )
    chosen = {(2 * i + 1) * len(photos) // (2 * count) for i in range(count)}
    return (
        [photo for i, photo in enumerate(photos) if i not in chosen],
        [photo for i, photo in enumerate(photos) if i in chosen],
    )


def paired_photos(
    hr: Folders,
    lr: Folders,
    scale: int,
    *,
    hr_suffix: str | None = None,
    lr_suffix: str | None = None,
    skip_bad: bool = False,
) -> list[Photo]:
    """HR photos with their given LR: the same paths but for the suffixes of the field, sizes that fit.

    Args:
        hr: folder of HR photos, or several.
        lr: as many folders of their LR, in the same order.
        scale: s.
        hr_suffix: see :func:`~esrgan_lightning.data.pairing.pair_files`.
        lr_suffix: likewise.
        skip_bad: leave out pairs of which an image cannot be read.

    Raises:
        InputError: a count, a path or a size does not fit; the first offender is named.
    """
    folders = folder_pairs(hr, lr)
    pairs = []
    for hr_folder, lr_folder in folders:
        below = hr_folder.parent if len(folders) > 1 else hr_folder
        files, lr_files = list_images(hr_folder), list_images(lr_folder)
        if len(files) != len(lr_files):
            raise InputError(
                f"{hr_folder} holds {len(files)} images and {lr_folder} {len(lr_files)}: they must be pairs"
            )
        partners = pair_files(
            files, lr_files, hr_folder, lr_folder, scale, hr_suffix=hr_suffix, lr_suffix=lr_suffix
        )
        for pair in zip(files, partners, strict=True):
            try:
                photo, small = photos_from(pair, below)
            except InputError:
                if not skip_bad:
                    raise
            else:
                pairs.append(_fitting(photo, small, scale))
    return pairs


def folder_pairs(hr: Folders, lr: Folders) -> list[tuple[Path, Path]]:
    """Each folder of HR photos with that of their LR.

    Raises:
        InputError: there are more of one kind.
    """
    hr_folders, lr_folders = folders_of(hr), folders_of(lr)
    if len(hr_folders) != len(lr_folders):
        raise InputError(
            f"{len(hr_folders)} folders of HR and {len(lr_folders)} of LR photos: give one for each"
        )
    return list(zip(hr_folders, lr_folders, strict=True))


def _fitting(hr: Photo, lr: Photo, scale: int) -> Photo:
    """The HR photo with its LR."""
    height, width = hr.height // scale, hr.width // scale
    if (height, width) != (lr.height, lr.width):
        raise InputError(
            f"{lr.hr} is {lr.height}×{lr.width}, but {hr.hr} is {hr.height}×{hr.width}: at scale {scale} "
            f"the LR must be {height}×{width}"
        )
    return replace(hr, lr=lr.hr)
