"""Which sample numbers a process trains on."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from esrgan_lightning.errors import InputError


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
