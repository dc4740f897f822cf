"""Loaders of a run: training batches by their numbers, validation shared out over the processes."""

import atexit
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    Sampler,
    SequentialSampler,
    Subset,
    default_collate,
    get_worker_info,
)

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.distributed import signals_held


class UpdateSampler(Sampler[list[int]]):
    """Batches of consecutive sample numbers, cut into equal parts for the processes.

    Batch u of a run holds the samples u·B … u·B+B−1, whatever the number of processes: process r of W takes
    B/W of them. A resumed run goes on at ``start``.

    Args:
        batch_size: B, over all processes.
        batches: batches of the whole run.
        start: batches already trained on.
        rank: of this process.
        world_size: W.

    Raises:
        InputError: B is no multiple of W.

    Example:
        >>> [list(b) for b in UpdateSampler(batch_size=4, batches=2, rank=1, world_size=2)]
        [[2, 3], [6, 7]]
    """

    def __init__(
        self, *, batch_size: int, batches: int, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size <= 0 or batch_size % world_size:
            raise InputError(
                f"data.batch_size={batch_size} is the batch over all processes: "
                f"it must be a positive multiple of {world_size}"
            )
        self.batch_size, self.batches, self.start = batch_size, batches, start
        self.rank, self.share = rank, batch_size // world_size

    def __len__(self) -> int:
        # The whole run, not the rest of it: Lightning adds the batches already done to those it fetches.
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.start, self.batches):
            first = batch * self.batch_size + self.rank * self.share
            yield list(range(first, first + self.share))


T = TypeVar("T")
IGNORED = ("SIGINT", "SIGTERM", "SIGHUP")  # by loader processes


class Timed:
    """Adds up in ``waited_seconds`` how long training has waited for its batches."""

    waited_seconds = 0.0

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches."""
        start = time.perf_counter()
        for batch in batches:
            self.waited_seconds += time.perf_counter() - start
            yield batch
            start = time.perf_counter()


class TimedLoader(Timed, DataLoader[T]):
    """torch's loader, timed."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches."""
        with signals_held(*IGNORED):
            batches = super().__iter__()
        return self.timed(batches)


def check_loading(batch_size: int, num_workers: int) -> None:
    """Refuses a batch of nothing, and less than no processes."""
    if batch_size < 1:
        raise InputError(f"data.batch_size={batch_size} must be at least 1")
    if num_workers < 0:
        raise InputError(f"data.num_workers={num_workers} must not be negative")


def training_loader(
    dataset: Dataset[T],
    trainer: pl.Trainer | None,
    *,
    batch_size: int,
    num_workers: int,
) -> TimedLoader[T]:
    """The batches that are left of the run, this process's part of each.

    Args:
        dataset: any sample by its number, from 0 without end; or whole batches, by ``__getitems__``.
        trainer: which says how many updates the run has (``Trainer(max_steps=…)``) and has done.
        batch_size: over all processes.
        num_workers: loader processes.

    Raises:
        InputError: the trainer has no length in updates, or the batch cannot be shared out.
    """
    sampler = run_sampler(trainer, batch_size)
    return TimedLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=partial(in_shared_memory, _collated),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=start_worker,
    )


def _collated(samples: Any) -> Any:
    return default_collate(samples) if isinstance(samples, list) else samples


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


def eval_loader(
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
        worker_init_fn=start_worker,
    )


def start_worker(_worker: int) -> None:
    """For a loader process: the cores belong to the others, and the first process decides when a run ends.

    A signal to all of a group (Ctrl-C, ``timeout``, systemd, scancel) would else end the loader's processes
    before that one has saved.
    """
    torch.set_num_threads(1)
    for name in IGNORED:
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@atexit.register
def _end_loader_processes() -> None:
    """Those of a loader that is there to the end: multiprocessing would wait, as they ignore its signal."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def in_shared_memory(collate: Callable[[Any], Any], samples: Any) -> Any:
    """The batch of these samples; a loader process puts its tensors into shared memory before it sends them.

    torch does that in a thread, which loses the error of a shared memory that is full: training would wait
    for the batch for ever. Here the error reaches the training process.
    """
    batch = collate(samples)
    if get_worker_info() is not None:
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            if isinstance(value, torch.Tensor):
                value.share_memory_()  # type: ignore[no-untyped-call]
    return batch
