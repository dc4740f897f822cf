"""The LightningDataModule, and one builder for each way of giving photos."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, SequentialSampler, Subset

from esrgan_lightning.data.crops import Pair, PatchDataset, Photo, WholeDataset
from esrgan_lightning.data.sampler import UpdateSampler
from esrgan_lightning.data.sources import (
    HELD_OUT_PHOTOS,
    embedded_photos,
    folder_photos,
    hold_out,
    paired_photos,
)
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import to_float

logger = logging.getLogger(__name__)


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


class SRDataModule(pl.LightningDataModule):
    """Patch pairs for training, whole photos for validation and test.

    Batches cross the worker boundary as uint8 and become float32 in [0,1] on the device:
    ``{"lr": (B,3,h,w), "hr": (B,3,s·h,s·w), "name": [str]}``.

    Args:
        train: photos to cut patches from.
        val: photos for validation; none is allowed (no best checkpoint then).
        test: photos for test; the validation photos where none are given.
        scale: integer factor.
        patch_size: side of the HR patch in pixels.
        batch_size: pairs in a batch, over all processes.
        num_workers: loader processes; 0 loads in the training process.
        seed: of the sampling; sample n depends on (seed, n) alone.
        flips: mirror half of the samples.
        rotations: quarter turns.
        cache_gib: memory for decoded photos per process, in GiB.
    """

    def __init__(
        self,
        train: Sequence[Photo],
        val: Sequence[Photo] = (),
        test: Sequence[Photo] = (),
        *,
        scale: int = 4,
        patch_size: int = 128,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        flips: bool = True,
        rotations: bool = True,
        cache_gib: float = 2.0,
    ) -> None:
        super().__init__()
        self.train_set = PatchDataset(
            train,
            patch_size=patch_size,
            scale=scale,
            seed=seed,
            flips=flips,
            rotations=rotations,
            cache_bytes=int(cache_gib * 2**30),
        )
        if batch_size < 1:
            raise InputError(f"data.batch_size={batch_size} must be at least 1")
        if num_workers < 0:
            raise InputError(f"data.num_workers={num_workers} must not be negative")
        self.val_set = WholeDataset(val, scale=scale)
        self.test_set = WholeDataset(test or val, scale=scale)
        self.batch_size, self.num_workers = batch_size, num_workers

    def index_hash(self) -> str:
        """A hash over names and sizes of the training photos, kept in a model's provenance."""
        digest = hashlib.sha256()
        for photo in self.train_set.photos:
            digest.update(f"{photo.hr.name} {photo.height} {photo.width}\n".encode())
        return digest.hexdigest()

    def train_dataloader(self) -> DataLoader[Pair]:
        """Loader of the batches that are left of the run (``Trainer(max_steps=…)`` says how many it has)."""
        trainer = self.trainer
        if trainer is None or trainer.max_steps < 0:
            raise InputError("training needs a length in updates: Trainer(max_steps=N)")
        per_update = int(getattr(trainer.lightning_module, "accumulate", 1))
        sampler = UpdateSampler(
            batch_size=self.batch_size,
            batches=trainer.max_steps * per_update,
            start=trainer.global_step * per_update,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        return DataLoader(
            self.train_set,
            batch_sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_one_thread,
        )

    def val_dataloader(self) -> DataLoader[Pair]:
        """Whole photos, one a batch, shared out over the processes."""
        return self._whole(self.val_set)

    def test_dataloader(self) -> DataLoader[Pair]:
        """Whole photos, one a batch, shared out over the processes."""
        return self._whole(self.test_set)

    def _whole(self, dataset: WholeDataset) -> DataLoader[Pair]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        # With fewer photos than processes each process takes all of them: the mean stays the same, and no
        # process is left without a batch while the others wait for it.
        mine = range(rank, len(dataset), world) if len(dataset) >= world else range(len(dataset))
        subset = Subset(dataset, list(mine))
        return DataLoader(subset, batch_size=1, sampler=SequentialSampler(subset))

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """uint8 → float32 in [0,1], on the device."""
        return batch | {key: to_float(batch[key]) for key in ("lr", "hr")}


def photos(**settings: Any) -> SRDataModule:
    """``data=photos``: twelve embedded photos to train on, two held out. Nothing to download."""
    return SRDataModule(embedded_photos(), embedded_photos(HELD_OUT_PHOTOS), **settings)


def folder(
    train_dir: str | Path,
    val_dir: str | Path | None = None,
    test_dir: str | Path | None = None,
    *,
    val_count: int | None = None,
    **settings: Any,
) -> SRDataModule:
    """``data=folder``: HR photos of any folder tree.

    Args:
        train_dir: HR photos, searched recursively.
        val_dir: HR photos for validation; without it some of the training photos are held out.
        test_dir: HR photos for test.
        val_count: how many to hold out; by default one in twenty, at least 1 and at most 10.
        **settings: of :class:`SRDataModule`.
    """
    train = folder_photos(train_dir)
    if val_dir is not None:
        val = folder_photos(val_dir)
    else:
        train, val = hold_out(train, val_count or min(10, max(1, len(train) // 20)))
        logger.info("data.val_dir is not given: %d of the training photos are held out", len(val))
    return SRDataModule(train, val, folder_photos(test_dir) if test_dir else (), **settings)


def paired(
    train_hr: str | Path,
    train_lr: str | Path,
    val_hr: str | Path | None = None,
    val_lr: str | Path | None = None,
    *,
    scale: int = 4,
    val_count: int | None = None,
    **settings: Any,
) -> SRDataModule:
    """``data=paired``: LR given beside HR, checked for count, names and sizes before training."""
    train = paired_photos(train_hr, train_lr, scale)
    if (val_hr is None) != (val_lr is None):
        raise InputError("data.val_hr and data.val_lr go together: give both or neither")
    if val_hr is not None and val_lr is not None:
        val = paired_photos(val_hr, val_lr, scale)
    else:
        train, val = hold_out(train, val_count or min(10, max(1, len(train) // 20)))
    return SRDataModule(train, val, scale=scale, **settings)
