"""How an image goes through a network: whole, streamed by rows, or in tiles, by the memory that is there."""

from typing import Literal, NamedTuple, final

import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.memory import free_memory
from esrgan_lightning.inference.rows.layers import Costs, costs_of, unsupported_layer

Tile = int | Literal["auto", "exact"] | None

# The share of the free memory that a plan may take: others use it too, and estimates are estimates.
_SHARE = {"cpu": 0.5, "cuda": 0.8}
# A block of rows on the CPU: LR pixels whose feature maps stay near the cache (larger blocks are slower, see
# docs/tiling.md), and the rows below which the copies of kept rows begin to cost.
_BLOCK, _LEAST_ROWS = 4096, 8
# What an image may take as a whole where it could be streamed in less: small ones are faster so.
_SMALL = 2**30
_LEAST_TILE = 16
# Of a network whose layers are not known: as much per SR pixel as the widest layer of an RRDBNet.
_UNKNOWN = 192


class Plan(NamedTuple):
    """How an image will go through the network: ``exact`` is streamed by rows, ``tiles`` have seams."""

    mode: Literal["whole", "exact", "tiles"]
    rows: int  # LR rows of a block, or side of a tile; of the image where it goes as a whole
    columns: int  # LR columns that are streamed at a time; of the image where they are all
    overlap: int  # LR pixels around what is kept of a tile or of such columns
    memory: int  # estimate of what it takes, in bytes

    def __str__(self) -> str:
        large = self.memory >= 2**30
        about = f"about {self.memory / 2**30:.1f} GiB" if large else f"about {self.memory / 2**20:.0f} MiB"
        if self.mode == "whole":
            return f"the whole image at once, {about}"
        if self.mode == "exact":
            bands = f" of {self.columns} columns" if self.overlap else ""
            return f"exact, {self.rows} rows{bands} at a time, {about}"
        return f"tiles of {self.rows} with {self.overlap} LR pixels around each, not exact, {about}"


@final
class Planner:
    """Plans for one network on one device; remembers for what the memory did not suffice.

    Settings and errors are those of :class:`~esrgan_lightning.inference.Runner`; a value has ``itemsize``
    bytes, and blocks and bands begin at multiples of ``align``. With ``whole`` an image is streamed
    only where it does not fit as a whole.
    """

    def __init__(
        self,
        generator: nn.Module,
        device: torch.device,
        *,
        tile: Tile,
        overlap: int,
        itemsize: int,
        align: int,
        whole: bool = False,
    ) -> None:
        valid = tile in ("auto", "exact", None) if not isinstance(tile, int) else tile >= 1
        if not valid or overlap < 0:
            raise InputError(
                f"tile={tile} must be auto, exact, none or at least 1 LR pixel, overlap={overlap} at least 0"
            )
        self.device, self.tile, self.overlap = device, tile, overlap
        self.itemsize, self.align = itemsize, align
        self.whole = whole or device.type != "cpu"
        streams = tile == "exact" or (not isinstance(tile, int) and not unsupported_layer(generator))
        scale = int(generator.scale)  # type: ignore[arg-type]
        self.costs = costs_of(generator) if streams else Costs(0, 0, _UNKNOWN * scale**2)
        self.streams = streams
        self._most: int | None = None  # rows of a block or side of a tile, once memory has been too little

    def plan(self, height: int, width: int, images: int = 1) -> Plan:
        """For so many images of this size, in LR pixels, at once."""
        pixel, room = self.costs.pixel * self.itemsize * images, self._room()
        whole = Plan("whole", height, width, 0, pixel * height * width)
        if isinstance(self.tile, int):
            return self._tiles(self.tile, whole, pixel)
        if self.tile is None and self._most is None:
            return whole
        fits = self._most is None and (room is None or whole.memory <= room)
        if self.streams:
            small = self.whole or whole.memory <= _SMALL
            return whole if self.tile == "auto" and fits and small else self._exact(height, width, images)
        if fits:
            return whole
        side = max(height, width) if room is None else int((room / pixel) ** 0.5) - 2 * self.overlap
        return self._tiles(max(_LEAST_TILE, side // _LEAST_TILE * _LEAST_TILE), whole, pixel)

    def _exact(self, height: int, width: int, images: int) -> Plan:
        """Streaming, with as many rows at a time as are fast and fit.

        Where not even a few rows of the full width fit, some columns after the others.
        """
        column, pixel = (each * self.itemsize * images for each in (self.costs.column, self.costs.pixel))
        rows, columns, room = height, width, self._room()
        if self.device.type == "cpu":
            rows = max(_LEAST_ROWS, _BLOCK // (width * images))
        if room is not None:
            rows = min(rows, (room // width - column) // pixel)
            if rows < min(height, _LEAST_ROWS):
                rows = _LEAST_ROWS
                columns = min(width, max(64, room // (column + rows * pixel) - 2 * self.costs.radius))
        rows = self.most(max(1, min(rows, height)))
        rows = -(-rows // self.align) * self.align
        overlap = self.costs.radius if columns < width else 0
        memory = (column + rows * pixel) * min(width, columns + 2 * overlap)
        return Plan("exact", rows, columns, overlap, memory)

    def _room(self) -> int | None:
        free = free_memory(self.device)
        return None if free is None else int(_SHARE.get(self.device.type, 0.5) * free)

    def shrink(self, plan: Plan) -> bool:
        """Remembers that a plan took too much: the next takes half. False if that would be too little."""
        streams = plan.mode == "exact" or (plan.mode == "whole" and self.streams)
        unit = self.align if streams else _LEAST_TILE
        side = plan.rows if streams else max(plan.rows, plan.columns)
        half = side // 2 // unit * unit
        if half:
            self._most = half
        return half > 0

    def most(self, rows: int) -> int:
        """So many rows of a block or of a tile's side, or as many as the memory has proved to hold."""
        return min(rows, self._most or rows)

    def _tiles(self, side: int, whole: Plan, pixel: int) -> Plan:
        side = self.most(min(side, max(whole.rows, whole.columns)))
        window = side + 2 * self.overlap
        memory = min(whole.rows, window) * min(whole.columns, window) * pixel
        return Plan("tiles", side, side, self.overlap, memory)
