"""Layers over the rows of an image as they come: each keeps the few rows that it will need again.

A step is given the next n ≥ 1 rows (B,C,n,W) of its input, ``last`` with the last of them, and returns the
rows of its result that these complete: none at first, as a 3×3 convolution waits for the row below. What all
calls return together is what the layer makes of the whole image, zeros around it included. A step that fails
for want of memory has not changed: it can be called again with fewer rows.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.networks.blocks import DenseBlock


class Step(Protocol):
    """What a layer over rows tells and does."""

    factor: float  # rows of the result per row of the input
    lag: int  # rows of the input below its own that a row of the result depends on
    kept: int  # values per column of the input that are kept between calls
    works: int  # values per pixel of the input that exist while it computes: input, copies and result

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        """The next rows of the input, n ≥ 1 → those of the result that they complete."""
        ...


@final
class Convolution:
    """A convolution of any odd kernel, stride 1, no dilation, with (k − 1)/2 zeros around the image."""

    factor = 1.0

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        size, channels = self.conv.kernel_size[0], self.conv.in_channels
        self.lag, self.kept = size // 2, (size - 1) * channels
        self.works = 2 * channels + self.conv.out_channels
        self._rows: Tensor | None = None

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        """(B,in,n,W) → (B,out,n',W)."""
        window = _below(self._rows, rows, self.lag, last)
        result = _valid(self.conv, window)
        # A view would keep the whole window in memory.
        self._rows = None if last or not self.lag else window[:, :, -2 * self.lag :].clone()
        return result


@final
class Dense:
    """A dense block, x + β · conv5([x, x1, x2, x3, x4]); each map is one row behind the one before it.

    The maps kept begin at one row, the one above the next of the result: 6 rows of x, 5 of x1 … 2 of x4.
    """

    factor, lag = 1.0, 5

    def __init__(self, block: DenseBlock) -> None:
        self.convs, self.last_conv = (block.conv1, block.conv2, block.conv3, block.conv4), block.conv5
        self.act, self.beta = block.act, block.residual_scaling
        features, growth = self.last_conv.out_channels, self.convs[0].out_channels
        self.kept = 6 * features + (5 + 4 + 3 + 2) * growth
        self.works = 4 * features + 8 * growth
        self._maps: list[Tensor | None] = [None] * 5

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        """(B,num_features,n,W) → the same channels."""
        maps = [_below(self._maps[0], rows, 1, last)]
        for conv, before in zip(self.convs, self._maps[1:], strict=True):
            done = 1 if before is None else before.shape[2]  # its rows so far; at first that above the image
            new = self.act(_valid(conv, _side_by_side(maps, done - 1)))
            maps.append(_below(before, new, 1, last))
        residual = _valid(self.last_conv, _side_by_side(maps, 0))
        finished = residual.shape[2]
        result = maps[0][:, :, 1 : 1 + finished] + self.beta * residual
        self._maps = [None if last else each[:, :, finished:].clone() for each in maps]
        return result


@final
class RowWise:
    """A function of each row alone: an activation, batch norm in eval mode, an enlargement, a fold.

    ``values`` exist per pixel of the input while it computes.
    """

    lag = kept = 0

    def __init__(self, function: Callable[[Tensor], Tensor], *, factor: float = 1.0, values: int = 0) -> None:
        self.function, self.factor, self.works = function, factor, values

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        """(B,C,n,W) → (B,C',n·factor,W·factor)."""
        return self.function(rows)


@final
class Fork:
    """The beginning of a residual connection: its input passes on, and waits for :class:`Join`."""

    factor, lag, kept, works = 1.0, 0, 0, 0

    def __init__(self) -> None:
        self.waiting: deque[Tensor] = deque()

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        """Its input, which nothing may change in place."""
        self.waiting.append(rows)
        return rows

    def first(self, count: int) -> Tensor:
        """The ``count`` rows that have waited longest; they go on waiting."""
        pieces: list[Tensor] = []
        for piece in self.waiting:
            if count == 0:
                break
            pieces.append(piece[:, :, :count])
            count -= pieces[-1].shape[2]
        return torch.cat(pieces, 2) if len(pieces) > 1 else pieces[0]

    def drop(self, count: int) -> None:
        """They are not needed any more."""
        while count:
            piece = self.waiting.popleft()
            if piece.shape[2] > count:
                self.waiting.appendleft(piece[:, :, count:].clone())  # a view would keep all of it
            count -= min(count, piece.shape[2])


@final
class Join:
    """The end of a residual connection of so many channels: what waited + β · what came.

    The lags of the steps between add up to the rows that wait.
    """

    factor, lag = 1.0, 0

    def __init__(self, fork: Fork, between: list[Step], channels: int, *, beta: float = 1.0) -> None:
        self.fork, self.beta = fork, beta
        self.kept, self.works = channels * sum(step.lag for step in between), 3 * channels

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        """(B,C,n,W) → the same."""
        result = self.fork.first(rows.shape[2]) + (rows if self.beta == 1 else self.beta * rows)
        self.fork.drop(rows.shape[2])
        return result


def _below(kept: Tensor | None, rows: Tensor, border: int, last: bool) -> Tensor:
    """New rows below those kept, with ``border`` rows of zeros above the image's first and below its last."""
    window = rows if kept is None else torch.cat((kept, rows), 2)
    above, below = (border if kept is None else 0), (border if last else 0)
    return F.pad(window, (0, 0, above, below)) if above or below else window


def _side_by_side(maps: list[Tensor], first: int) -> Tensor:
    """[x, x1 …] from row ``first`` on, as far down as the last map reaches."""
    end = maps[-1].shape[2]
    return torch.cat([each[:, :, first:end] for each in maps], 1) if len(maps) > 1 else maps[0][:, :, first:]


def _valid(conv: nn.Conv2d, window: Tensor) -> Tensor:
    """Zeros at the left and right, none above and below: (B,in,n + k − 1,W) → (B,out,n,W)."""
    if window.shape[2] < conv.kernel_size[0]:
        return window.new_empty((window.shape[0], conv.out_channels, 0, window.shape[3]))
    across = conv.kernel_size[1] // 2
    return F.conv2d(window, conv.weight, conv.bias, padding=(0, across), groups=conv.groups)
