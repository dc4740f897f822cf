"""Random patches out of shards, by sample number."""

import logging
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from esrgan_lightning.data.batches import Batch, RawBatch, finish
from esrgan_lightning.data.crops import Pair, check_patch, cut
from esrgan_lightning.data.degradations import Degradation
from esrgan_lightning.data.placement import Integers, draws, shuffled, turns
from esrgan_lightning.data.shard_store import ShardStore
from esrgan_lightning.data.shards import Tile
from esrgan_lightning.errors import InputError

logger = logging.getLogger(__name__)

_CHUNKS, _TILES = 5, 6  # streams of the seed
_AHEAD = 64  # batches by which a download comes before its first use


class StreamPlan:
    """Which tile sample n is cut out of: a pure function of (seed, streams, n).

    A round takes each tile ``patches_per_tile`` times. The chunks are shuffled and laid one after the other,
    and within each the visits to its tiles are shuffled: this is the line of the round. It is cut into
    ``streams`` parts of equal length, and the samples of a batch come out of all parts at once, one of each.
    So a batch mixes that many chunks, each chunk is needed for a while and then no more in that round, and a
    process that has a share of each batch needs that share of the chunks.

    Args:
        seed: of the run.
        tiles: number of tiles of each chunk, (C,).
        streams: parts of the line; the batch over all processes.
        patches_per_tile: visits to each tile in a round.
    """

    def __init__(self, seed: int, tiles: Sequence[int], streams: int, patches_per_tile: int) -> None:
        self.seed, self.streams = seed, streams
        self._tiles = np.asarray(tiles, np.int64)
        self._visits = self._tiles * patches_per_tile
        self.round = int(self._visits.sum())  # samples

    def __call__(self, numbers: Integers) -> tuple[Integers, Integers]:
        """The chunk and, in that, the tile of each sample, (B,)."""
        rounds, place = np.divmod(numbers, self.round)
        each, longer = np.divmod(self.round, self.streams)
        stream, step = place % self.streams, place // self.streams
        visit = stream * each + np.minimum(stream, longer) + step  # the first `longer` parts have one more
        chunks, tiles = np.empty_like(numbers), np.empty_like(numbers)
        for number in np.unique(rounds).tolist():
            mine = np.flatnonzero(rounds == number)
            order, ends = self._line(number)
            at = np.searchsorted(ends, visit[mine], side="right")
            chunks[mine] = order[at]
            inside = visit[mine] - (ends[at] - self._visits[order[at]])
            tiles[mine] = [
                _visits_of(self.seed, number, chunk, int(self._visits[chunk]))[i] % self._tiles[chunk]
                for chunk, i in zip(chunks[mine].tolist(), inside.tolist(), strict=True)
            ]
        return chunks, tiles

    def _line(self, number: int) -> tuple[Integers, Integers]:
        order = shuffled(self.seed, _CHUNKS, 0, number, len(self._tiles))
        return order, np.cumsum(self._visits[order])


# Each sample of a batch is in another chunk: with a small cache each would be shuffled anew for each batch.
@lru_cache(maxsize=256)
def _visits_of(seed: int, number: int, chunk: int, visits: int) -> Integers:
    return shuffled(seed, _TILES, chunk, number, visits)


class StreamingPatches(Dataset[Pair]):
    """LR/HR patches by sample number out of shards, as :class:`~esrgan_lightning.data.crops.PatchDataset`.

    A patch lies in one tile with its margin; where the tile ends at the photo's border, the border's pixels
    are repeated, and the LR is that of the whole photo, to the last bit.

    Args:
        store: the shards.
        patch_size: side of the HR patch in pixels, a multiple of the scale.
        scale: integer factor.
        degradation: makes the LR.
        streams: chunks that a batch is mixed of; the batch over all processes.
        seed: of the run.
        patches_per_tile: patches cut out of each tile in a round.
        flips: mirror half of the samples.
        rotations: quarter turns.
        complete: finish each batch here, in the loader's process.

    Raises:
        InputError: a setting makes no sense, the tiles are too small for it, or the cache is.
    """

    def __init__(
        self,
        store: ShardStore,
        *,
        patch_size: int,
        scale: int,
        degradation: Degradation,
        streams: int,
        seed: int = 0,
        patches_per_tile: int = 8,
        flips: bool = True,
        rotations: bool = True,
        complete: bool = False,
    ) -> None:
        check_patch(patch_size, scale, seed)
        if patches_per_tile < 1:
            raise InputError(f"data.patches_per_tile={patches_per_tile} must be at least 1")
        self.store, self.patch_size, self.scale = store, patch_size, scale
        self.degradation, self.complete = degradation, complete
        self.flips, self.rotations = flips, rotations
        self._check_tiles()
        store.require_room(2 * streams)
        self.plan = StreamPlan(seed, [each.tiles for each in store.index.chunks], streams, patches_per_tile)

    def _check_tiles(self) -> None:
        index, patch = self.store.index, self.patch_size
        if index.smallest < patch:
            raise InputError(
                f"{index.url}: the smallest tile has {index.smallest} pixels, less than "
                f"data.patch_size={patch}: choose a smaller patch, or write the shards again with --min-side"
            )
        need = patch + 2 * (self.degradation.margin + 1) * self.scale
        # Tiles inside a photo are of about equal size, and those have at least this side.
        side = (index.tile + index.overlap) // 2
        if side < need:
            raise InputError(
                f"{index.url}: a tile can have {side} pixels, and a patch with its surroundings {need}: "
                "choose a smaller patch, or write the shards again with a larger --tile"
            )
        if index.overlap < need:
            logger.warning(
                "%s: tiles have %d pixels in common, and a patch with its surroundings %d: patches across "
                "the middle of two tiles never come (esrgan data shard --overlap)",
                index.url,
                index.overlap,
                need,
            )

    #: Whether the LR is cut out of LR photos: shards hold none.
    given_lr = False

    def digest(self) -> str:
        """A hash over the contents of the shards."""
        return self.store.index.digest()

    def __getitem__(self, n: int) -> Pair:
        """Sample n."""
        batch = finish(self.raw([n]), self.degradation, self.scale)
        return {"lr": batch["lr"][0], "hr": batch["hr"][0], "name": batch["name"][0]}

    def __getitems__(self, numbers: list[int]) -> RawBatch | Batch:
        """A batch, for the loader."""
        raw = self.raw(numbers)
        return finish(raw, self.degradation, self.scale) if self.complete else raw

    def raw(self, numbers: Sequence[int]) -> RawBatch:
        """The crops of these samples as they lie in the photos."""
        n = np.asarray(numbers, np.int64)
        ahead, _ = self.plan(n + _AHEAD * self.plan.streams)
        self.store.prefetch(np.unique(ahead).tolist())
        draw = draws(self.plan.seed, n)
        margin = self.degradation.margin * self.scale
        hr = np.empty((len(n), *[self.patch_size + 2 * margin] * 2, 3), np.uint8)
        names = []
        for i, (chunk, index) in enumerate(zip(*(each.tolist() for each in self.plan(n)), strict=True)):
            tile = self.store.chunk(chunk, keep=len(n) + 1).tile(index)
            names.append(tile.name)
            top, left = self.position(tile, draw[i])
            # Of a tile that reaches the photo's border: up to where the photo cut to the scale ends.
            height, width = (side // self.scale * self.scale for side in (tile.height, tile.width))
            pixels = tile.pixels[: max(0, height - tile.top), : max(0, width - tile.left)]
            cut(pixels, top * self.scale - margin - tile.top, left * self.scale - margin - tile.left, hr[i])
        return {
            "hr": torch.from_numpy(hr),
            "turns": turns(draw[:, 2], flips=self.flips, rotations=self.rotations).tolist(),
            "number": list(numbers),
            "name": names,
        }

    def position(self, tile: Tile, draw: NDArray[np.float64]) -> tuple[int, int]:
        """Top and left of a patch, in LR pixels of the whole photo, uniform over those inside the tile."""
        high, wide, _ = tile.pixels.shape
        return (
            self._along(tile.top, high, tile.height, draw[0]),
            self._along(tile.left, wide, tile.width, draw[1]),
        )

    def _along(self, start: int, length: int, whole: int, draw: float) -> int:
        patch, scale, margin = self.patch_size // self.scale, self.scale, self.degradation.margin
        first = -(-start // scale) + margin if start else 0
        end = start + length
        last = (end // scale - margin if end < whole else whole // scale) - patch
        if last < first:
            raise InputError(
                f"{self.store.url}: a tile of {length} pixels is too small for "
                f"data.patch_size={self.patch_size}: write the shards again"
            )
        return first + int(draw * (last - first + 1))
