"""Shards: tiles of photos in chunks of some tens of megabytes, as litdata lays them out, and their index."""

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from esrgan_lightning.data.packfile import Pixels
from esrgan_lightning.errors import InputError

#: What ``config["esrgan_lightning"]["format"]`` of an index says.
FORMAT = "esrgan-lightning shards 1"
INDEX = "index.json"
#: No index is longer: a hundred thousand chunks have one of 20 MB.
LONGEST_INDEX = 64 << 20
_CHUNK_NAME = re.compile(r"chunk-\d{1,3}-\d{1,7}\.bin")
_LARGEST_CHUNK = 2**32 - 1  # its offsets are 32-bit
_UINT8 = 4  # litdata's number of the type
# An item: the lengths of its three leaves; of the pixels the type, the number of axes and the shape.
_HEAD = struct.Struct("<3I 5I")
_PLACE = struct.Struct("<4q")


class Tile(NamedTuple):
    """A rectangle of a photo: its pixels (h,w,3) uint8, where it lies in the photo, and the photo's size."""

    pixels: Pixels
    name: str
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class ChunkInfo:
    """A chunk as the index describes it."""

    name: str
    bytes: int
    tiles: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """What ``index.json`` says.

    Args:
        url: where it lies, for messages.
        chunks: in the order of the index.
        tile: longest side of a tile, in pixels.
        overlap: pixels that neighbouring tiles of a photo have in common.
        smallest: shortest side of all tiles.
    """

    url: str
    chunks: tuple[ChunkInfo, ...]
    tile: int
    overlap: int
    smallest: int

    @classmethod
    def parse(cls, url: str, text: bytes) -> "ShardIndex":
        """Reads an index, which may have been written by anybody.

        Raises:
            InputError: it is no index of shards, or one that no writer would make: chunks with names that are
                paths, with sizes that cannot be.
        """
        try:
            found = json.loads(text)
            own = found["config"]["esrgan_lightning"]
            if own["format"] != FORMAT:
                raise InputError(f"{url} says format={own['format']!r}, and this version reads {FORMAT!r}")
            if found["config"].get("compression") or found["config"].get("encryption"):
                raise ValueError("its chunks are compressed or encrypted")
            chunks = tuple(_chunk_info(each) for each in found["chunks"])
            tile, overlap, smallest = (_number(own[key], 0, 2**31) for key in ("tile", "overlap", "smallest"))
        except InputError:
            raise
        except KeyError as error:
            raise InputError(_NOT_SHARDS.format(url, f"it has no {error}")) from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(_NOT_SHARDS.format(url, error)) from error
        if not chunks or len({each.name for each in chunks}) != len(chunks):
            raise InputError(_NOT_SHARDS.format(url, "it lists no chunk, or one twice"))
        return cls(url, chunks, tile, overlap, smallest)

    def digest(self) -> str:
        """A hash over the contents of all chunks."""
        return hashlib.sha256(json.dumps([each.sha256 for each in self.chunks]).encode()).hexdigest()


_NOT_SHARDS = "{} is no index of shards that `esrgan data shard` has written: {}"


class Chunk:
    """The tiles of one chunk, which is mapped into memory; nothing is copied.

    A chunk is the number of its items N, N+1 offsets (all uint32), and the items.

    Args:
        data: the file's bytes.
        info: what the index says of it.
        where: its path or URL, for messages.

    Raises:
        InputError: the bytes are not those of the index, or no chunk.
    """

    def __init__(self, data: NDArray[np.uint8], info: ChunkInfo, where: str) -> None:
        self._data, self._where = data.data, where
        head = 4 * (info.tiles + 2)
        if len(data) != info.bytes or head > len(data):
            raise InputError(f"{where} is damaged: it has {len(data)} bytes, and its index says {info.bytes}")
        table = data[:head].view("<u4").astype(np.int64)
        self._offsets = table[1:]
        whole = table[0] == info.tiles and table[1] == head and table[-1] == len(data)
        if not whole or (np.diff(self._offsets) < _HEAD.size + _PLACE.size).any():
            raise InputError(f"{where} is damaged: its table of tiles is not that of {info.tiles} tiles")

    def tile(self, index: int) -> Tile:
        """Tile number ``index``: a view of the file.

        Raises:
            InputError: the bytes there are no tile.
        """
        start, end = (int(offset) for offset in self._offsets[index : index + 2])
        pixels, name, place, kind, axes, height, width, channels = _HEAD.unpack_from(self._data, start)
        first = start + _HEAD.size
        last = first + height * width * channels
        top, left, full_height, full_width = _PLACE.unpack_from(self._data, end - _PLACE.size)
        if not (
            (kind, axes, channels, place) == (_UINT8, 3, 3, _PLACE.size)
            and pixels == 20 + last - first
            and 12 + pixels + name + place == end - start
            and 0 <= top <= top + height <= full_height
            and 0 <= left <= left + width <= full_width
        ):
            raise InputError(f"{self._where} is damaged: its item {index} is no tile of a photo")
        title = bytes(self._data[last : last + name]).decode("utf-8", "replace")
        square = np.frombuffer(self._data[first:last], np.uint8).reshape(height, width, 3)
        return Tile(square, title, top, left, full_height, full_width)


def _chunk_info(entry: dict[str, Any]) -> ChunkInfo:
    name, sha256 = str(entry["filename"]), str(entry["sha256"])
    if not _CHUNK_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a chunk")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"the hash of {name} is none")
    size = _number(entry["chunk_bytes"], 1, _LARGEST_CHUNK)
    tiles = _number(entry["chunk_size"], 1, size // (_HEAD.size + _PLACE.size))
    return ChunkInfo(name, size, tiles, sha256)


def _number(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r} is no whole number from {low} to {high}")
    return value
