"""Blocks of rows through a network's steps, depth first: an image of any height in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import final

from torch import Tensor

from esrgan_lightning.inference.memory import out_of_memory
from esrgan_lightning.inference.rows.steps import Step


@final
class Stream:
    """One image through a network, block by block, each block as far as it goes.

    A step that lacks memory for its rows is given the two halves of them instead, one after the other.

    Args:
        steps: The network's layers, not used before.
        most: LR rows that go through a step at once. The last block sets free all rows that waited for those
            below them, hundreds in a deep network: they go on in pieces of this.
        within: Makes the context that a step computes in.
        shrink: Told for how many LR rows the memory did not suffice.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        most: Callable[[], int],
        within: Callable[[], AbstractContextManager[None]],
        shrink: Callable[[int], None],
    ) -> None:
        self.steps, self.most, self.within, self.shrink = steps, most, within, shrink
        self._scales = list(accumulate((step.factor for step in steps), lambda a, b: a * b, initial=1.0))

    def __call__(self, rows: Tensor, last: bool) -> Iterator[Tensor]:
        """The next block of the image, (B,C,n,W) → the rows of the result that it completes."""
        return self._from(0, rows, last)

    def _from(self, number: int, rows: Tensor, last: bool) -> Iterator[Tensor]:
        for at in range(number, len(self.steps)):
            count, most = rows.shape[2], max(1, int(self.most() * self._scales[at]))
            done = None
            if count <= most or at == 0:
                with self.within():
                    done = _attempt(self.steps[at], rows, last)
                if done is None:
                    self.shrink(int(count / self._scales[at]))
                    most = -(-count // 2)
            if done is None:
                for top in range(0, count, most):
                    bottom = min(top + most, count)
                    yield from self._from(at, rows[:, :, top:bottom], last and bottom == count)
                return
            rows = done
            if rows.shape[2] == 0:
                return
        yield rows


def _attempt(step: Step, rows: Tensor, last: bool) -> Tensor | None:
    """The step's result, None where the memory did not suffice and there are fewer rows to try it with."""
    try:
        return step(rows, last)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or rows.shape[2] < 2:
            raise
    return None  # only here is the exception gone, and with it what the failed step held
