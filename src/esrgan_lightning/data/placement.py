"""Where sample n comes from: a pure function of (seed, n), for any mixture of sources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

# Samples whose random numbers are drawn at once: a generator costs more to make than to use.
_BLOCK = 4096
# Streams of one seed; each has a counter word of its own, so that they never meet. 3 is the degradations'.
_ROUND, _DRAW, _SOURCE = 1, 2, 4


@dataclass(frozen=True)
class Placements:
    """Where some samples come from, each field (B,) int64.

    ``source`` and ``photo`` number the photo, ``top`` and ``left`` are in LR pixels, ``turn`` is
    4·mirrored + quarter turns.
    """

    source: Integers
    photo: Integers
    top: Integers
    left: Integers
    turn: Integers


class CropSampler:
    """Places samples by their numbers.

    Photos come in shuffled rounds. Without weights each photo is taken once a round. With weights a round
    gives each source its share of places, and each source goes through its own photos in shuffled rounds of
    its own. Positions are uniform. Nothing depends on the number of workers, processes or epochs, so any of
    them may change between two runs of the same seed.

    ``sizes`` has for each source the LR height and width of its photos, (N,2); ``patch`` is the LR patch's
    side. ``flips`` mirrors half of the samples, ``rotations`` turns by 0, 90, 180 or 270 degrees.
    """

    def __init__(
        self,
        seed: int,
        sizes: Sequence[NDArray[np.int64]],
        patch: int,
        *,
        weights: Sequence[float] | None = None,
        flips: bool = True,
        rotations: bool = True,
    ) -> None:
        self.seed, self.patch = seed, patch
        self._counts = [len(each) for each in sizes]
        self._first = np.concatenate([[0], np.cumsum(self._counts)])
        self._room = np.concatenate([np.asarray(each) for each in sizes]) - patch + 1  # positions, (ΣN, 2)
        if weights is None:
            self._places = self._counts
        else:
            length = max(1000, sum(self._counts))
            self._places = [max(1, round(length * weight / sum(weights))) for weight in weights]
        self._ends = np.cumsum(self._places)
        self._flips, self._rotations = flips, rotations

    def __call__(self, numbers: Sequence[int]) -> Placements:
        """The placements of these samples, each number from 0."""
        n = np.asarray(numbers, np.int64)
        rounds, position = np.divmod(n, self._ends[-1])
        place = _each(
            rounds, position, lambda r, p: shuffled(self.seed, _ROUND, 0, r, int(self._ends[-1]))[p]
        )
        source = np.searchsorted(self._ends, place, side="right")
        photo = np.empty_like(n)
        for each in np.unique(source).tolist():
            mine = source == each
            # How many samples of this source came before, whole rounds of the mixture first.
            rank = rounds[mine] * self._places[each] + place[mine] - (self._ends[each] - self._places[each])
            photo[mine] = self._own_round(each, rank)
        draw = draws(self.seed, n)
        room = self._room[self._first[source] + photo]
        top, left = (draw[:, :2] * room).astype(np.int64).T
        turn = turns(draw[:, 2], flips=self._flips, rotations=self._rotations)
        return Placements(source, photo, top, left, turn)

    def _own_round(self, source: int, rank: Integers) -> Integers:
        """The photos that come at these ranks in the rounds of one source."""
        count = self._counts[source]
        turn, index = np.divmod(rank, count)
        return _each(turn, index, lambda t, i: shuffled(self.seed, _SOURCE, source, t, count)[i])


def _each(group: Integers, inside: Integers, values: Callable[[int, Integers], NDArray[Any]]) -> NDArray[Any]:
    """``values(group, inside)`` for samples of several groups; those of a batch are nearly always of one."""
    first = int(group[0])
    if (group == first).all():
        return values(first, inside)
    return np.stack([values(int(g), inside[i : i + 1])[0] for i, g in enumerate(group)])


def draws(seed: int, numbers: Integers) -> NDArray[np.float64]:
    """Three uniform numbers in [0,1) for each sample, (B,3): for its top, its left and its turn."""
    block, inside = np.divmod(numbers, _BLOCK)
    return _each(block, inside, lambda b, i: _uniform(seed, b)[i])


def turns(draw: NDArray[np.float64], *, flips: bool, rotations: bool) -> Integers:
    """4·mirrored + quarter turns, out of a uniform number for each sample."""
    eighth = (draw * 8).astype(np.int64)
    return 4 * ((eighth >> 2) & int(flips)) + (eighth & 3 * int(rotations))


@lru_cache(maxsize=16)
def shuffled(seed: int, stream: int, source: int, number: int, length: int) -> Integers:
    """The numbers below ``length`` in the order of a round of a source, in one of the seed's streams."""
    bits = np.random.Philox(key=seed, counter=[0, source, number, stream])
    return np.random.Generator(bits).permutation(length)


@lru_cache(maxsize=16)
def _uniform(seed: int, block: int) -> NDArray[np.float64]:
    """Three uniform numbers in [0,1) for each sample of a block."""
    bits = np.random.Philox(key=seed, counter=[0, 0, block, _DRAW])
    return np.random.Generator(bits).random((_BLOCK, 3))
