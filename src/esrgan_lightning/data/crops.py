"""Random patches out of packs, by sample number; whole photos one by one; and what makes batches of them."""

import hashlib
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from esrgan_lightning.data.conditions import MapFolder, PhotoMaps
from esrgan_lightning.data.degradations import Degradation
from esrgan_lightning.data.packfile import Pixels
from esrgan_lightning.data.placement import CropSampler
from esrgan_lightning.data.sources import PackedPhoto, Photo, PhotoSet
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import modcrop, rgb_to_gray, to_float


class Pair(TypedDict):
    """One low/high-resolution pair: uint8 (C,h,w) and (C,s·h,s·w), maps (K,h,w) if any, the photo's name."""

    lr: Tensor
    hr: Tensor
    conditions: NotRequired[Tensor]
    name: str


class RawBatch(TypedDict):
    """Crops as they are cut: ``hr`` uint8 (B,H,W,3) with the degradation's margin around it.

    ``lr`` (B,h,w,3) only where the LR is given; ``conditions`` (B,K,h,w) only where there are maps, cut at
    the LR's place; ``turns`` are 4·mirrored + quarter turns. Lists stay on the CPU when a batch is moved.
    """

    hr: Tensor
    lr: NotRequired[Tensor]
    conditions: NotRequired[Tensor]
    turns: list[int]
    number: list[int]
    name: list[str]


class Batch(TypedDict):
    """LR/HR pairs, (B,C,h,w) and (B,C,s·h,s·w), with the photos' names and the samples' numbers.

    ``conditions``, where there are maps, are (B,K,h,w).
    """

    lr: Tensor
    hr: Tensor
    conditions: NotRequired[Tensor]
    name: list[str]
    number: list[int]


class PatchDataset(Dataset[Pair]):
    """LR/HR patches by sample number: ``dataset[n]`` for any n ≥ 0 (random access, no end).

    The loader asks for whole batches at once, which stay as they were cut, or with ``complete`` are finished
    here, in the loader's process. :class:`SRDataModule` explains the other settings.

    Raises:
        InputError: no photos, a patch that is no multiple of the scale, a photo smaller than the patch,
            weights that do not belong to the sets, some sets with LR and others without, or maps that do not
            fit their photos.
    """

    def __init__(
        self,
        sets: Sequence[PhotoSet],
        *,
        patch_size: int,
        scale: int,
        degradation: Degradation,
        seed: int = 0,
        weights: Sequence[float] | None = None,
        flips: bool = True,
        rotations: bool = True,
        skip_small: bool = False,
        complete: bool = False,
        conditions: MapFolder | None = None,
        channels: int = 3,
    ) -> None:
        check_patch(patch_size, scale, seed)
        if weights is not None and (len(weights) != len(sets) or not all(weight > 0 for weight in weights)):
            raise InputError(
                f"data.weights={list(weights)} must be {len(sets)} numbers above 0, one for each source"
            )
        self.sets = [_large_enough(each, patch_size, scale, skip_small=skip_small) for each in sets]
        if not self.sets or not all(len(each) for each in self.sets):
            raise InputError("no training photos: give a folder that holds some (data.train_dir=DIR)")
        if len({each.lr_pack is None for each in self.sets}) > 1:
            raise InputError("some sources have LR photos and others have none: give LR for all or for none")
        self.patch_size, self.scale, self.channels = patch_size, scale, channels
        self.degradation, self.complete = degradation, complete
        self.maps = conditions.of_sets(self.sets, scale) if conditions else []
        sizes = [each.pack.sizes[each.chosen] // scale for each in self.sets]
        self.placer = CropSampler(
            seed, sizes, patch_size // scale, weights=weights, flips=flips, rotations=rotations
        )

    @property
    def given_lr(self) -> bool:
        """Whether the LR is cut out of LR photos."""
        return self.sets[0].lr_pack is not None

    def digest(self) -> str:
        """A hash over names and contents of the photos, and of their maps."""
        known = hashlib.sha256()
        for each in self.sets:
            known.update(f"{each.pack.digest()} {each.chosen.tolist()}\n".encode())
        for maps in self.maps:
            known.update(maps.digest.encode())
        return known.hexdigest()

    def __getitem__(self, n: int) -> Pair:
        """Sample n."""
        batch = self._completed(self.raw([n]))
        pair: Pair = {"lr": batch["lr"][0], "hr": batch["hr"][0], "name": batch["name"][0]}
        if "conditions" in batch:
            pair["conditions"] = batch["conditions"][0]
        return pair

    def __getitems__(self, numbers: list[int]) -> RawBatch | Batch:
        """A batch, for the loader."""
        raw = self.raw(numbers)
        return self._completed(raw) if self.complete else raw

    def _completed(self, raw: RawBatch) -> Batch:
        return degrade_and_augment(raw, self.degradation, self.scale, self.channels)

    def raw(self, numbers: Sequence[int]) -> RawBatch:
        """The crops of these samples as they lie in the photos."""
        at = self.placer(numbers)
        patch, given = self.patch_size // self.scale, self.given_lr
        margin = 0 if given else self.degradation.margin
        hr = np.empty((len(numbers), *[(patch + 2 * margin) * self.scale] * 2, 3), np.uint8)
        lr = np.empty((len(numbers), patch, patch, 3), np.uint8) if given else None
        names, conditions = [], []
        places = zip(at.source.tolist(), at.photo.tolist(), at.top.tolist(), at.left.tolist(), strict=True)
        for i, (source, photo, top, left) in enumerate(places):
            pack, index = self.sets[source].pack, self.sets[source].chosen[photo]
            names.append(pack.names[index])
            hr_photo = pack.photo(index)
            height, width = (side // self.scale * self.scale for side in hr_photo.shape[:2])
            cut(hr_photo[:height, :width], (top - margin) * self.scale, (left - margin) * self.scale, hr[i])
            lr_pack = self.sets[source].lr_pack
            if lr is not None and lr_pack is not None:
                small = lr_pack.photo(self.sets[source].chosen_lr[photo])
                lr[i] = small[top : top + patch, left : left + patch]
            if self.maps:
                conditions.append(self.maps[source].crop(photo, top, left, patch))
        raw: RawBatch = {
            "hr": torch.from_numpy(hr),
            "turns": at.turn.tolist(),
            "number": list(numbers),
            "name": names,
        }
        if lr is not None:
            raw["lr"] = torch.from_numpy(lr)
        if conditions:
            raw["conditions"] = torch.from_numpy(np.stack(conditions))
        return raw


class WholeDataset(Dataset[Pair]):
    """Whole photos for validation: the HR cut to a multiple of the scale, the LR made or given."""

    def __init__(
        self,
        photos: Sequence[Photo | PackedPhoto],
        *,
        scale: int,
        degradation: Degradation,
        maps: PhotoMaps | None = None,
        channels: int = 3,
    ) -> None:
        self.photos, self.scale, self.degradation, self.maps = list(photos), scale, degradation, maps
        self.channels = channels

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Pair:
        """Photo number ``index``; its number is also that of its degradation."""
        photo = self.photos[index]
        hr = modcrop(in_channels(photo.read_hr(), self.channels), self.scale).contiguous()
        if (given := photo.read_lr()) is None:
            lr = self.degradation(hr[None], torch.tensor([index]), self.scale)[0]
        else:
            lr = in_channels(given, self.channels)
        pair: Pair = {"lr": lr, "hr": hr, "name": photo.name}
        if self.maps is not None:
            pair["conditions"] = self.maps[index]
        return pair


def check_patch(patch_size: int, scale: int, seed: int) -> None:
    """Refuses a patch that is no multiple of the scale, and a negative seed."""
    if patch_size <= 0 or patch_size % scale:
        raise InputError(f"data.patch_size={patch_size} is not a positive multiple of scale {scale}")
    if seed < 0:
        raise InputError(f"seed={seed} must not be negative")


def cut(photo: Pixels, top: int, left: int, out: Pixels) -> None:
    """Copies the square at (top, left), in pixels, into ``out``; beyond the border the last pixel repeats.

    MATLAB's bicubic repeats the same pixels: so the LR of the square is right up to the photo's border, where
    the photo has been cut to a multiple of the scale.
    """
    side, (height, width) = len(out), photo.shape[:2]
    above, before = max(-top, 0), max(-left, 0)
    below, after = min(height - top, side), min(width - left, side)
    out[above:below, before:after] = photo[top + above : top + below, left + before : left + after]
    out[:above], out[below:] = out[above], out[below - 1]
    out[:, :before], out[:, after:] = out[:, before : before + 1], out[:, after - 1 : after]


def _large_enough(photos: PhotoSet, patch_size: int, scale: int, *, skip_small: bool) -> PhotoSet:
    sizes = photos.pack.sizes[photos.chosen] // scale * scale
    small = np.flatnonzero(sizes.min(axis=1) < patch_size) if len(sizes) else np.empty(0, np.int64)
    if not len(small):
        return photos
    if skip_small:
        return photos.part(np.setdiff1d(np.arange(len(photos)), small).tolist())
    index = int(photos.chosen[small[0]])
    height, width = photos.pack.sizes[index]
    raise InputError(
        f"{photos.pack.names[index]} of {photos.pack.path} is {height}×{width}, smaller than "
        f"data.patch_size={patch_size}: remove it, choose a smaller patch, or leave such photos out "
        f"(data.skip_small=true; {len(small)} of {len(photos)} here)"
    )


def degrade_and_augment(raw: RawBatch, degradation: Degradation, scale: int, channels: int = 3) -> Batch:
    """Makes gray if asked to, then the LR, takes the margin away, flips and turns; uint8 in, uint8 out.

    The LR is made before the turn: MATLAB rounds after the rows, then after the columns, and so the LR of a
    turned photo is not the turned LR.

    Args:
        raw: of the loader, on any device.
        degradation: makes the LR where none is given.
        scale: s.
        channels: C of the batch: 3, or 1 for gray.
    """
    hr = in_channels(raw["hr"].permute(0, 3, 1, 2), channels)
    if "lr" in raw:
        lr = in_channels(raw["lr"].permute(0, 3, 1, 2), channels)
    else:
        lr = degradation(hr, torch.tensor(raw["number"]), scale)
        hr, lr = _trim(hr, degradation.margin * scale), _trim(lr, degradation.margin)
    batch: Batch = {
        "lr": turned(lr, raw["turns"]),
        "hr": turned(hr, raw["turns"]),
        "name": raw["name"],
        "number": raw["number"],
    }
    if "conditions" in raw:
        batch["conditions"] = turned(raw["conditions"], raw["turns"])
    return batch


def in_channels(rgb: Tensor, channels: int) -> Tensor:
    """uint8 (…,3,H,W) → (…,C,H,W), C 3 or 1."""
    return rgb_to_gray(rgb) if channels == 1 else rgb


def normalised(batch: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """uint8 → floats in [0,1]."""
    images = {"lr", "hr", "conditions"} & set(batch)
    return batch | {key: to_float(batch[key], dtype) for key in images}


def turned(images: Tensor, turns: Sequence[int]) -> Tensor:
    """Each image (B,C,N,N) mirrored left to right where its turn is 4 or more, then turned turn mod 4 times.

    A quarter turn is counter-clockwise, as in ``torch.rot90``.
    """
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    for turn in sorted(set(turns)):
        mine = torch.tensor([i for i, each in enumerate(turns) if each == turn], device=images.device)
        some = images[mine]
        some = some.flip(-1) if turn >= 4 else some
        result[mine] = torch.rot90(some, turn % 4, (-2, -1))
    return result


def _trim(images: Tensor, margin: int) -> Tensor:
    return images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]
