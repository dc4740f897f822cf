"""Random patches whose low-resolution side equals the crop of the whole photo's MATLAB LR."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, imresize, read_rgb

# The bicubic kernel reaches 2 LR pixels to each side; 4 leave room and keep the cut a multiple of the scale.
_MARGIN = 4


class Pair(TypedDict):
    """One low/high-resolution pair: uint8 (3,h,w) and (3,s·h,s·w), and the photo's name."""

    lr: Tensor
    hr: Tensor
    name: str


@dataclass(frozen=True)
class Photo:
    """A photo on disk: its HR file, its LR file where one is given, and the HR size in pixels."""

    hr: Path
    height: int
    width: int
    lr: Path | None = None

    @property
    def name(self) -> str:
        """The file's stem, as it stands in tables and sample pictures."""
        return self.hr.stem


@dataclass(frozen=True)
class Placement:
    """Where sample n comes from: which photo, top and left in LR pixels, flip, quarter turns."""

    photo: int
    top: int
    left: int
    flip: bool
    turns: int


def photos_from(paths: Sequence[Path]) -> list[Photo]:
    """Reads the size of each file from its header.

    Raises:
        InputError: a file is unreadable (named).
    """
    return [Photo(path, *image_size(path)) for path in paths]


def place(
    seed: int,
    n: int,
    sizes: Sequence[tuple[int, int]],
    patch: int,
    *,
    flips: bool = True,
    rotations: bool = True,
) -> Placement:
    """The placement of sample n: a pure function of its arguments.

    Photos come in shuffled rounds, each photo once a round; positions are uniform. Nothing depends on the
    number of workers, processes or epochs, so any of them may change between two runs of the same seed.

    Args:
        seed: of the run.
        n: number of the sample, from 0.
        sizes: LR height and width of each photo.
        patch: side of the LR patch.
        flips: mirror half of the samples.
        rotations: turn by 0, 90, 180 or 270 degrees.
    """
    turn, position = divmod(n, len(sizes))
    # The round's number and the sample's number sit in different counter words: their streams never meet.
    order = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, turn, 1])).permutation(len(sizes))
    draw = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, n, 2]))
    photo = int(order[position])
    height, width = sizes[photo]
    return Placement(
        photo=photo,
        top=int(draw.integers(height - patch + 1)),
        left=int(draw.integers(width - patch + 1)),
        flip=bool(draw.integers(2)) and flips,
        turns=int(draw.integers(4)) * rotations,
    )


def downscale_patch(hr: Tensor, top: int, left: int, patch: int, scale: int) -> Tensor:
    """LR patch (3,patch,patch) at (top, left) of the whole photo's MATLAB LR, without resizing the photo.

    Args:
        hr: whole photo, uint8 (3,H,W), H and W multiples of the scale.
        top: row of the patch in LR pixels.
        left: column of the patch in LR pixels.
        patch: side of the LR patch.
        scale: integer factor between HR and LR.
    """
    above, before = min(top, _MARGIN), min(left, _MARGIN)
    rows = slice((top - above) * scale, (top + patch + _MARGIN) * scale)
    columns = slice((left - before) * scale, (left + patch + _MARGIN) * scale)
    small = imresize(hr[:, rows, columns], 1 / scale)
    return small[:, above : above + patch, before : before + patch]


def augment(image: Tensor, placement: Placement) -> Tensor:
    """Mirrors and turns (…,H,W) as the placement says."""
    if placement.flip:
        image = image.flip(-1)
    return torch.rot90(image, placement.turns, (-2, -1)).contiguous()


class DecodedPhotos:
    """Decoded photos by path, the least recently used dropped once the budget is full."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget = budget_bytes
        self.used = 0
        self._images: OrderedDict[Path, Tensor] = OrderedDict()

    def __call__(self, path: Path) -> Tensor:
        """The photo as uint8 (3,H,W)."""
        if path in self._images:
            self._images.move_to_end(path)
            return self._images[path]
        image = read_rgb(path)
        self._images[path] = image
        self.used += image.numel()
        while self.used > self.budget and len(self._images) > 1:
            self.used -= self._images.popitem(last=False)[1].numel()
        return image


class PatchDataset(Dataset[Pair]):
    """LR/HR patches by sample number: ``dataset[n]`` for any n ≥ 0 (random access, no end).

    Args:
        photos: HR photos; where ``lr`` is given, that file is cropped instead of downscaling.
        patch_size: side of the HR patch in pixels, a multiple of the scale.
        scale: integer factor.
        seed: of the run.
        flips: mirror half of the samples.
        rotations: quarter turns.
        cache_bytes: memory for decoded photos, per process.

    Raises:
        InputError: no photos, a patch that is no multiple of the scale, or a photo smaller than the patch.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        *,
        patch_size: int,
        scale: int,
        seed: int = 0,
        flips: bool = True,
        rotations: bool = True,
        cache_bytes: int = 2 << 30,
    ) -> None:
        if not photos:
            raise InputError("no training photos: give a folder that holds some (data.train_dir=DIR)")
        if patch_size <= 0 or patch_size % scale:
            raise InputError(f"data.patch_size={patch_size} is not a positive multiple of scale {scale}")
        for photo in photos:
            if min(photo.height, photo.width) // scale * scale < patch_size:
                raise InputError(
                    f"{photo.hr} is {photo.height}×{photo.width}, smaller than data.patch_size={patch_size}: "
                    "remove it or choose a smaller patch"
                )
        self.photos = list(photos)
        self.patch_size, self.scale, self.seed = patch_size, scale, seed
        self.flips, self.rotations = flips, rotations
        self.sizes = [(photo.height // scale, photo.width // scale) for photo in photos]
        self._decode = DecodedPhotos(cache_bytes)

    def __getitem__(self, n: int) -> Pair:
        """Sample n."""
        patch, scale = self.patch_size // self.scale, self.scale
        at = place(self.seed, n, self.sizes, patch, flips=self.flips, rotations=self.rotations)
        photo = self.photos[at.photo]
        height, width = self.sizes[at.photo]
        whole = self._decode(photo.hr)[:, : height * scale, : width * scale]
        hr = whole[:, at.top * scale : (at.top + patch) * scale, at.left * scale : (at.left + patch) * scale]
        if photo.lr is None:
            lr = downscale_patch(whole, at.top, at.left, patch, scale)
        else:
            lr = self._decode(photo.lr)[:, at.top : at.top + patch, at.left : at.left + patch]
        return {"lr": augment(lr, at), "hr": augment(hr, at), "name": photo.name}


class WholeDataset(Dataset[Pair]):
    """Whole photos for validation and test: the HR cut to a multiple of the scale, the LR made or given."""

    def __init__(self, photos: Sequence[Photo], *, scale: int) -> None:
        self.photos, self.scale = list(photos), scale

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Pair:
        """Photo number ``index``."""
        photo, scale = self.photos[index], self.scale
        hr = read_rgb(photo.hr)
        hr = hr[:, : photo.height // scale * scale, : photo.width // scale * scale].contiguous()
        lr = imresize(hr, 1 / scale) if photo.lr is None else read_rgb(photo.lr)
        return {"lr": lr, "hr": hr, "name": photo.name}
