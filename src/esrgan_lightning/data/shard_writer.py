"""Writing shards: packs cut into tiles, shuffled, in chunks that object storage likes."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from esrgan_lightning.data.packfile import Pack
from esrgan_lightning.data.packing import progress
from esrgan_lightning.data.placement import shuffled
from esrgan_lightning.data.shard_cache import EXTRA
from esrgan_lightning.data.shards import FORMAT, INDEX
from esrgan_lightning.errors import InputError

if TYPE_CHECKING:
    from litdata.streaming.writer import BinaryWriter

_ORDER = 7  # stream of the seed
_JOURNAL = "writing.json"  # what an unfinished folder is to hold
_SPARE_BYTES = 64 << 20  # to be left free on the disk


class _Place(NamedTuple):
    """A tile: the pack, the photo's number in it, and the rectangle."""

    pack: int
    photo: int
    top: int
    left: int
    height: int
    width: int


def write_shards(
    packs: Sequence[str | Path | Pack],
    folder: str | Path,
    *,
    tile: int = 768,
    overlap: int = 160,
    chunk_mb: float = 64.0,
    min_side: int = 0,
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Cuts the photos of packs into overlapping tiles, shuffles them, and writes them as chunks of litdata.

    An item is ``{"pixels": uint8 (h,w,3), "name": bytes, "place": int64 (4,)}``, the place being the tile's
    top and left and the photo's height and width: ``litdata.StreamingDataset`` reads the folder as it is.
    Each chunk is a random part of all tiles. The index is written last, under another name first; an
    interrupted call goes on when it is made again, and the bytes are those of one made in one go.

    Args:
        packs: that :func:`~esrgan_lightning.data.packing.pack` has made.
        folder: for ``index.json`` and ``chunk-0-N.bin``: to be read from there, or copied to object storage.
        tile: longest side of a tile, in pixels. A photo is cut into as few as will do, of about equal size.
        overlap: what neighbouring tiles have in common. Patches come from every place of the photo where
            this is at least the patch and its surroundings: 128 + 2·12 for x4 by bicubic.
        chunk_mb: about this size has a chunk, in MB (10⁶ bytes).
        min_side: leave out photos with a shorter side than this.
        seed: of the shuffling.
        threads: by default as many as there are cores.
        overwrite: replace shards that are there.

    Returns:
        The path of the index.

    Raises:
        InputError: a setting makes no sense, litdata is missing, the folder holds something else, there is no
            room on the disk, or no photo is large enough.
    """
    folder = Path(folder)
    _check_settings(tile, overlap, chunk_mb, seed)
    given = [each if isinstance(each, Pack) else Pack(each) for each in packs]
    places = [
        _Place(number, photo, *rectangle)
        for number, pack in enumerate(given)
        for photo, (height, width) in enumerate(pack.sizes.tolist())
        if min(height, width) >= min_side
        for rectangle in _rectangles(height, width, tile, overlap)
    ]
    if not places:
        raise InputError(f"no photo is left: all have a side below --min-side={min_side}")
    places = [places[i] for i in shuffled(seed, _ORDER, 0, 0, len(places)).tolist()]
    chunks = _chunks(places, chunk_mb)
    own = {
        "format": FORMAT,
        "tile": tile,
        "overlap": overlap,
        "smallest": min(min(each.height, each.width) for each in places),
    }
    plan = own | {"seed": seed, "chunks": len(chunks), "packs": [each.digest() for each in given]}
    _prepare(folder, json.dumps(plan, sort_keys=True), overwrite=overwrite)
    need = sum(each.height * each.width * 3 for each in places) + _SPARE_BYTES
    there = sum(path.stat().st_size for path in folder.iterdir())
    if need > shutil.disk_usage(folder).free + there:
        raise InputError(f"{folder} will have {need / 1e9:.1f} GB, and that is not free: choose another disk")
    writer = _writer(folder)
    writer.serialize(_item(given, places[0]))  # it learns the layout of all items from the first
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool, progress() as bar:
        task = bar.add_task(f"writing {folder.name}", total=len(chunks))
        entries = []
        for entry in pool.map(
            lambda n: _write_chunk(folder, n, given, chunks[n], writer), range(len(chunks))
        ):
            entries.append(entry)
            bar.advance(task)
    config = writer.get_config() | {"esrgan_lightning": own}
    _put(folder / INDEX, [json.dumps({"chunks": entries, "config": config}, sort_keys=True).encode()])
    (folder / _JOURNAL).unlink()
    return folder / INDEX


def _check_settings(tile: int, overlap: int, chunk_mb: float, seed: int) -> None:
    if not 0 <= overlap < tile:
        raise InputError(f"--overlap={overlap} must be from 0 to below --tile={tile}")
    if not 0 < chunk_mb <= 2000:
        raise InputError(f"--chunk-mb={chunk_mb:g} must be above 0, and at most 2000")
    if tile * tile * 3 > 2e9:
        raise InputError(f"--tile={tile} is too large for a chunk")
    if seed < 0:
        raise InputError(f"--seed={seed} must not be negative")


def _rectangles(height: int, width: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    for (top, high), (left, wide) in product(*(_spans(side, tile, overlap) for side in (height, width))):
        yield top, left, high, wide


def _spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Start and length of as few equal parts of a side as will do, overlapping by ``overlap`` at least."""
    count = max(1, -(-(side - overlap) // (tile - overlap)))
    length = min(side, -(-(side - overlap) // count) + overlap)
    return [((side - length) * i // max(1, count - 1), length) for i in range(count)]


def _chunks(places: list[_Place], chunk_mb: float) -> list[list[_Place]]:
    """Consecutive tiles in chunks of about equal bytes."""
    ends = np.cumsum([each.height * each.width * 3 for each in places])
    count = min(len(places), max(1, round(float(ends[-1]) / (chunk_mb * 1e6))))
    first = np.searchsorted(ends, np.arange(1, count) * (ends[-1] / count))
    bounds = np.unique([0, *first.tolist(), len(places)]).tolist()
    return [places[a:b] for a, b in pairwise(bounds)]


def _prepare(folder: Path, plan: str, *, overwrite: bool) -> None:
    """Makes the folder, or finds in it what an interrupted call of the same plan has left."""
    folder.mkdir(parents=True, exist_ok=True)
    journal, index = folder / _JOURNAL, folder / INDEX
    if journal.is_file() and journal.read_text("utf-8") == plan and not index.exists():
        return
    if overwrite:
        index.unlink(missing_ok=True)  # first: without its index the rest is nothing
        for path in (*folder.glob("chunk-*.bin*"), journal):
            path.unlink(missing_ok=True)
    if any(folder.iterdir()):
        raise InputError(
            f"{folder} is not empty, and holds no unfinished shards of the same photos and settings: choose "
            "another folder with -o, or say --overwrite to replace shards"
        )
    _put(journal, [plan.encode()])


def _write_chunk(
    folder: Path, number: int, packs: list[Pack], places: list[_Place], writer: "BinaryWriter"
) -> dict[str, Any]:
    """The chunk's entry in the index. A chunk that is there has been written whole."""
    path = folder / f"chunk-0-{number}.bin"
    if not path.exists():
        items = [writer.serialize(_item(packs, place))[0] for place in places]
        offsets = 4 * (len(items) + 2) + np.cumsum([0, *map(len, items)])
        _put(path, [np.array([len(items), *offsets], "<u4").tobytes(), *items])
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    return {
        "filename": path.name,
        "chunk_bytes": size,
        "chunk_size": len(places),
        "dim": None,
        "sha256": sha256,
    }


def _item(packs: list[Pack], place: _Place) -> dict[str, Any]:
    pack = packs[place.pack]
    height, width = pack.sizes[place.photo].tolist()
    pixels = pack.photo(place.photo)[
        place.top : place.top + place.height, place.left : place.left + place.width
    ]
    # The name as bytes: a string that happens to be the path of a file is taken by litdata for that file.
    name = pack.names[place.photo].encode()
    return {"pixels": pixels, "name": name, "place": np.array([place.top, place.left, height, width])}


def _writer(folder: Path) -> "BinaryWriter":
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError as error:
        raise InputError(f"shards are written by litdata: {EXTRA}") from error
    return BinaryWriter(str(folder), chunk_bytes=1)


def _put(path: Path, parts: Sequence[bytes]) -> None:
    """Writes a file that is either whole or not there."""
    part = path.with_name(f"{path.name}.partial")
    with part.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
