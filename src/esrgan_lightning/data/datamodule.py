"""The LightningDataModule: batches of patches for training, whole photos for validation."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from esrgan_lightning.data.conditions import Conditions, MapFolder
from esrgan_lightning.data.crops import (
    Pair,
    PatchDataset,
    RawBatch,
    WholeDataset,
    degrade_and_augment,
    normalised,
)
from esrgan_lightning.data.degradations import Bicubic, Degradation
from esrgan_lightning.data.loaders import check_loading, eval_loader, training_loader
from esrgan_lightning.data.shards import Shards
from esrgan_lightning.data.sources import PackedPhoto, Photo, PhotoSet
from esrgan_lightning.errors import InputError

if TYPE_CHECKING:
    from esrgan_lightning.data.streamed import StreamedBatches, StreamedPatches

logger = logging.getLogger(__name__)


class SRDataModule(pl.LightningDataModule):
    """Patch pairs for training, whole photos for validation.

    Crops cross the worker boundary as uint8 and as they were cut; LR, flips, layout and floats in [0,1] are
    made on the device: ``{"lr": (B,C,h,w), "hr": (B,C,s·h,s·w), "name": [str], "number": [int]}``, and with
    maps ``"conditions": (B,K,h,w)``.

    Args:
        train: photos to cut patches from: of packs, or the tiles of shards.
        val: photos for validation; none is allowed (no best checkpoint then).
        scale: integer factor.
        patch_size: side of the HR patch in pixels.
        batch_size: pairs in a batch, over all processes.
        num_workers: loader processes; 0 loads in the training process.
        seed: of the sampling; sample n depends on (seed, n) alone.
        weights: share of the samples from each of ``train``; None for the number of its photos.
        flips: mirror half of the samples.
        rotations: quarter turns.
        skip_small: leave out photos smaller than the patch; shards are written without them.
        degradation: makes the LR where none is given; MATLAB's bicubic by default.
        prepare: where LR, flips and layout are made: on the ``device``, or in the ``worker``.
        conditions: for a generator that takes maps: where they lie, or what makes them of the LR, on the
            device.
        channels: C: 3, or 1 to train on gray: of photos in colour their BT.601 luma
            (:func:`~esrgan_lightning.ops.rgb_to_gray`), of which the LR is then made.

    Raises:
        InputError: a setting makes no sense, or the photos do not fit it.
    """

    def __init__(
        self,
        train: PhotoSet | Sequence[PhotoSet] | Shards,
        val: Sequence[Photo | PackedPhoto] = (),
        *,
        scale: int = 4,
        patch_size: int = 128,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        weights: Sequence[float] | None = None,
        flips: bool = True,
        rotations: bool = True,
        skip_small: bool = False,
        degradation: Degradation | None = None,
        prepare: Literal["device", "worker"] = "device",
        conditions: Conditions | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_loading(batch_size, num_workers)
        if channels not in (1, 3):
            raise InputError(f"channels={channels}: give 3, or 1 for gray")
        if prepare not in ("device", "worker"):
            raise InputError(f"data.prepare={prepare}: choose device or worker")
        self.degradation = degradation or Bicubic()
        how: dict[str, Any] = {
            "patch_size": patch_size,
            "scale": scale,
            "degradation": self.degradation,
            "seed": seed,
            "flips": flips,
            "rotations": rotations,
            "complete": prepare == "worker",
            "channels": channels,
        }
        maps = conditions if isinstance(conditions, MapFolder) else None
        by_pack: dict[Path, Path] = {}
        self.segmentation = None if isinstance(conditions, MapFolder) else conditions
        self.train_set: PatchDataset | StreamedPatches
        if isinstance(train, Shards):
            if weights is not None or skip_small:
                raise InputError(
                    "data.weights and data.skip_small are not for shards: take them away, and write "
                    "shards of the photos that you want (--min-side leaves small ones out)"
                )
            if maps:
                raise InputError(
                    "shards hold no maps: take conditions=torchvision, or data=pack or data=folder"
                )
            from esrgan_lightning.data import streamed  # litdata is an extra

            self.train_set = streamed.StreamedPatches(train, **how)
        else:
            sets = [train] if isinstance(train, PhotoSet) else train
            self.train_set = PatchDataset(
                sets, weights=weights, skip_small=skip_small, conditions=maps, **how
            )
            if maps:
                by_pack = dict(zip((each.pack.path for each in sets), maps.dirs, strict=True))
        if self.train_set.given_lr and not isinstance(self.degradation, Bicubic):
            raise InputError("the LR photos are given: a degradation makes them, take one of the two away")
        if not val:
            logger.warning("no photos for validation are given: there is none, and no best checkpoint")
        val_maps = maps.of_photos(val, scale, maps.val_dir, by_pack) if maps else None
        self.val_set = WholeDataset(
            val, scale=scale, degradation=self.degradation, maps=val_maps, channels=channels
        )
        self.batch_size, self.num_workers = batch_size, num_workers
        self.scale, self.channels = scale, channels

    def index_hash(self) -> str:
        """A hash over names and contents of the training photos, kept in a model's provenance."""
        return self.train_set.digest()

    def train_dataloader(self) -> "DataLoader[Pair] | StreamedBatches":
        """Loader of the batches that are left of the run (``Trainer(max_steps=…)`` says how many it has)."""
        if not isinstance(self.train_set, PatchDataset):
            return self.train_set.loader(
                self.trainer, batch_size=self.batch_size, num_workers=self.num_workers
            )
        return training_loader(
            self.train_set, self.trainer, batch_size=self.batch_size, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[Pair]:
        """Whole photos, one a batch, shared out over the processes."""
        return eval_loader(self.val_set, self.trainer)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Finishes a training batch where its worker has not; then the precision of the weights, in [0,1]."""
        if "turns" in batch:
            raw = cast(RawBatch, batch)
            batch = dict(degrade_and_augment(raw, self.degradation, self.scale, self.channels))
        dtype = cast(torch.dtype, self.trainer.lightning_module.dtype) if self.trainer else torch.float32
        batch = normalised(batch, dtype)
        if self.segmentation is not None:
            batch["conditions"] = self.segmentation(batch["lr"].expand(-1, 3, -1, -1))
        return batch
