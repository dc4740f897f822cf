"""Random patches out of shards, in the order that litdata streams them."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from litdata import StreamingDataLoader, StreamingDataset

from esrgan_lightning.data.crops import Batch, RawBatch, check_patch, cut, degrade_and_augment
from esrgan_lightning.data.degradations import Degradation
from esrgan_lightning.data.loaders import Timed, in_shared_memory, run_sampler, start_worker
from esrgan_lightning.data.placement import draws, turns
from esrgan_lightning.data.shards import INDEX, Shards
from esrgan_lightning.errors import InputError

logger = logging.getLogger(__name__)

Crop = tuple[np.ndarray[Any, np.dtype[np.uint8]], int, int, str]


class _Tiles(StreamingDataset):  # type: ignore[misc]
    """litdata's dataset: it cuts a patch out of each tile as it comes, and resumes where the shards are."""

    def __init__(self, patches: "StreamedPatches") -> None:
        options = patches.shards.options() | {"shuffle": True, "drop_last": True, "seed": patches.seed}
        with TemporaryDirectory() as folder:  # the index that was checked: another may lie there by now
            Path(folder, INDEX).write_bytes(patches.shards.index)
            super().__init__(**options, index_path=folder)
        self.patches = patches

    def __getitem__(self, index: Any) -> Crop:
        number = (self.current_epoch - 1) * self.patches.shards.tiles + int(index.index)
        return self.patches.crop(super().__getitem__(index), number)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        here = {"input_dir_path": self.input_dir.path, "input_dir_url": self.input_dir.url}
        super().load_state_dict(state | here | {"cache_dir_path": self.cache_dir.path})


class StreamedPatches:
    """LR/HR patches out of shards: one of each tile in an epoch, at a place drawn from (seed, epoch, tile).

    A patch lies in one tile with its margin; where the tile ends at the photo's border, the border's pixels
    are repeated, and the LR is that of the whole photo, to the last bit. The settings are those of
    :class:`~esrgan_lightning.data.crops.PatchDataset`.

    Raises:
        InputError: a setting makes no sense, or the tiles are too small for it.
    """

    #: Whether the LR is cut out of LR photos: shards hold none.
    given_lr = False

    def __init__(
        self,
        shards: Shards,
        *,
        patch_size: int,
        scale: int,
        degradation: Degradation,
        seed: int = 0,
        flips: bool = True,
        rotations: bool = True,
        complete: bool = False,
        channels: int = 3,
    ) -> None:
        check_patch(patch_size, scale, seed)
        self.shards, self.patch_size, self.scale, self.seed = shards, patch_size, scale, seed
        self.degradation, self.complete, self.channels = degradation, complete, channels
        self.flips, self.rotations = flips, rotations
        if shards.smallest < patch_size:
            raise InputError(
                f"{shards.url}: the smallest tile has {shards.smallest} pixels, less than data.patch_size="
                f"{patch_size}: choose a smaller patch, or write the shards again with --min-side"
            )
        need = patch_size + 2 * (degradation.margin + 1) * scale
        # Tiles inside a photo are of about equal size, and those have at least this side.
        side = (shards.tile + shards.overlap) // 2
        if side < need:
            raise InputError(
                f"{shards.url}: a tile can have {side} pixels, and a patch with its surroundings {need}: "
                "choose a smaller patch, or write the shards again with a larger --tile"
            )
        if shards.overlap < need:
            logger.warning(
                "%s: tiles have %d pixels in common, and a patch with its surroundings %d: patches across "
                "the middle of two tiles never come (esrgan data shard --overlap)",
                shards.url,
                shards.overlap,
                need,
            )

    def digest(self) -> str:
        """A hash over the index of the shards."""
        return self.shards.digest

    def crop(self, tile: dict[str, Any], number: int) -> Crop:
        """A patch of a tile with its margin, (H,W,3) uint8, its turn, its number and the photo's name."""
        pixels, name = tile["pixels"], bytes(tile["name"]).decode("utf-8", "replace")
        top, left, height, width = (int(each) for each in tile["place"])
        high, wide, _ = pixels.shape
        draw = draws(self.seed, np.array([number]))
        y = self._along(top, high, height, draw[0, 0]) * self.scale
        x = self._along(left, wide, width, draw[0, 1]) * self.scale
        margin = self.degradation.margin * self.scale
        out = np.empty((*[self.patch_size + 2 * margin] * 2, 3), np.uint8)
        # Of a tile that reaches the photo's border: up to where the photo cut to the scale ends.
        height, width = (side // self.scale * self.scale for side in (height, width))
        cut(pixels[: height - top, : width - left], y - margin - top, x - margin - left, out)
        turn = int(turns(draw[:, 2], flips=self.flips, rotations=self.rotations)[0])
        return out, turn, number, name

    def _along(self, start: int, length: int, whole: int, draw: float) -> int:
        """First LR pixel of a patch along a side, uniform over those inside the tile."""
        patch, scale, margin = self.patch_size // self.scale, self.scale, self.degradation.margin
        first = -(-start // scale) + margin if start else 0
        end = start + length
        last = (end // scale - margin if end < whole else whole // scale) - patch
        return first + int(draw * (last - first + 1))

    def collate(self, crops: Sequence[Crop]) -> RawBatch | Batch:
        """A batch, as those of other data."""
        hr, turn, number, name = zip(*crops, strict=True)
        raw: RawBatch = {
            "hr": torch.from_numpy(np.stack(hr)),
            "turns": list(turn),
            "number": list(number),
            "name": list(name),
        }
        if not self.complete:
            return raw
        return degrade_and_augment(raw, self.degradation, self.scale, self.channels)

    def loader(self, trainer: pl.Trainer | None, *, batch_size: int, num_workers: int) -> "StreamedBatches":
        """The batches that are left of the run, this process's part of each.

        Raises:
            InputError: the trainer has no length in updates, the batch cannot be shared out, or there are
                fewer tiles than a batch of each loader process has.
        """
        run = run_sampler(trainer, batch_size)
        loader = StreamingDataLoader(
            _Tiles(self),
            batch_size=run.share,
            num_workers=num_workers,
            collate_fn=partial(in_shared_memory, self.collate),
            drop_last=True,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker if num_workers else None,
        )
        if len(loader) < max(1, num_workers):
            raise InputError(
                f"{self.shards.url} has {self.shards.tiles} tiles, too few for data.batch_size={batch_size} "
                f"and data.num_workers={num_workers}: give more photos, or smaller numbers"
            )
        return StreamedBatches(self.shards, loader, run.start, run.batches)


class StreamedBatches(Timed):
    """litdata's loader, epoch after epoch up to the end of the run, which Lightning saves and restores.

    Args:
        shards: that it streams.
        loader: of this process.
        start: batches already trained on.
        batches: batches of the whole run.
    """

    def __init__(self, shards: Shards, loader: StreamingDataLoader, start: int, batches: int) -> None:
        self.shards, self.loader, self.start, self.batches = shards, loader, start, batches

    def __len__(self) -> int:
        # The whole run, not the rest of it: Lightning adds the batches already done to those it fetches.
        return self.batches

    def __iter__(self) -> Iterator[RawBatch | Batch]:
        epochs = chain.from_iterable(repeat(self.loader))
        return self.timed(islice(epochs, self.batches - self.start))

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands."""
        return {"index": self.shards.digest, "loader": self.loader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there; the shards may have moved, and are the same.

        Raises:
            InputError: They are others.
        """
        if state["index"] != self.shards.digest:
            raise InputError(f"{self.shards.url} are not the shards of the run that is resumed")
        self.loader.load_state_dict(state["loader"])
