"""Loaders of a run: training batches by their numbers, validation shared out over the processes."""

import time
from collections.abc import Callable, Iterator, Sized
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, SequentialSampler, Subset

from esrgan_lightning.data.sampler import UpdateSampler
from esrgan_lightning.errors import InputError

T = TypeVar("T")


class TimedLoader(DataLoader[T]):
    """A loader that adds up in ``waited_seconds`` how long training has waited for its batches."""

    waited_seconds = 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches."""
        start = time.perf_counter()
        for batch in super().__iter__():
            self.waited_seconds += time.perf_counter() - start
            yield batch
            start = time.perf_counter()


def training_loader(
    dataset: Dataset[T],
    trainer: pl.Trainer | None,
    *,
    batch_size: int,
    num_workers: int,
    collate: Callable[[Any], Any] | None = None,
) -> TimedLoader[T]:
    """The batches that are left of the run, this process's part of each.

    Args:
        dataset: any sample by its number, from 0 without end.
        trainer: which says how many updates the run has (``Trainer(max_steps=…)``) and has done.
        batch_size: over all processes.
        num_workers: loader processes.
        collate: from samples to a batch; torch's own by default.

    Raises:
        InputError: the trainer has no length in updates, or the batch cannot be shared out.
    """
    sampler = run_sampler(trainer, batch_size)
    return TimedLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=one_thread,
    )


def run_sampler(trainer: pl.Trainer | None, batch_size: int) -> UpdateSampler:
    """The sample numbers that are left of a run, this process's part of each batch.

    Raises:
        InputError: the trainer has no length in updates, or the batch cannot be shared out.
    """
    if trainer is None or trainer.max_steps < 0:
        raise InputError("training needs a length in updates: Trainer(max_steps=N)")
    per_update = int(getattr(trainer.lightning_module, "accumulate", 1))
    return UpdateSampler(
        batch_size=batch_size,
        batches=trainer.max_steps * per_update,
        start=trainer.global_step * per_update,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )


def shared_out(
    dataset: Dataset[T],
    trainer: pl.Trainer | None,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
) -> DataLoader[T]:
    """All samples in their order, each in one of the processes.

    Args:
        dataset: of known length.
        trainer: which knows the processes; None for a single one.
        batch_size: in each process.
        num_workers: loader processes.
    """
    rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
    length = len(cast(Sized, dataset))
    # With fewer samples than processes each process takes all of them: the mean stays the same, and no
    # process is left without a batch while the others wait for it.
    mine = range(rank, length, world) if length >= world else range(length)
    subset = Subset(dataset, list(mine))
    return DataLoader(
        subset,
        batch_size=batch_size,
        sampler=SequentialSampler(subset),
        num_workers=num_workers,
        worker_init_fn=one_thread,
    )


def one_thread(_worker: int) -> None:
    """For a loader process: the cores belong to the others."""
    torch.set_num_threads(1)
