"""Shards: photos cut into tiles, shuffled, in chunks that litdata writes and streams from object storage."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np

from esrgan_lightning.data.packfile import Pack
from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.ops.files import cache_folder, check_room
from esrgan_lightning.ops.progress import bars

INDEX = "index.json"
#: The layout, as an index names it beside litdata's own entries.
FORMAT = "esrgan-lightning shards 2"
# The types of an item's leaves. Others are not read: one of litdata's is pickle, which runs code.
_TYPES = ["numpy", "bytes", "no_header_numpy:3"]
_CHUNK_NAME = re.compile(r"chunk-\d{1,3}-\d{1,7}\.bin")


def write_shards(
    packs: Sequence[str | Path | Pack],
    folder: str | Path,
    *,
    tile: int = 480,
    overlap: int = 160,
    chunk_mb: float = 64.0,
    min_side: int = 0,
    overwrite: bool = False,
) -> Path:
    """Cuts the photos of packs into overlapping tiles, shuffles them, and has litdata write them.

    An item is ``{"pixels": uint8 (h,w,3), "name": bytes, "place": int64 (4,)}``, the place being the tile's
    top and left and the photo's height and width. The folder gets its name when it is whole.

    Args:
        packs: that :func:`~esrgan_lightning.data.packing.pack` has made.
        folder: for ``index.json`` and ``chunk-0-N.bin``: to be read from there, or copied to object storage.
        tile: longest side of a tile, in pixels. A photo is cut into as few as will do, of about equal size.
        overlap: what neighbouring tiles have in common. Patches come from every place of the photo where
            this is at least the patch and its surroundings: 128 + 2·12 for x4 by bicubic.
        chunk_mb: a chunk has at most this size, in MB (10⁶ bytes).
        min_side: leave out photos with a shorter side than this.
        overwrite: replace shards that are there.

    Returns:
        The path of the index.

    Raises:
        InputError: a setting makes no sense, litdata is missing, the folder holds something else, there is no
            room on the disk, or no photo is large enough.
    """
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError as error:
        raise needs_extra("shards need", "streaming") from error
    folder = Path(folder)
    _check_settings(tile, overlap, chunk_mb)
    given = [each if isinstance(each, Pack) else Pack(each) for each in packs]
    places = [
        (pack, photo, top, left, high, wide)
        for pack in given
        for photo, (height, width) in enumerate(pack.sizes.tolist())
        if min(height, width) >= min_side
        for (top, high), (left, wide) in product(*(_spans(side, tile, overlap) for side in (height, width)))
    ]
    if not places:
        raise InputError(f"no photo is left: all have a side below --min-side={min_side}")
    _check_folder(folder, sum(high * wide * 3 for *_, high, wide in places), overwrite=overwrite)
    partial = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        writer = BinaryWriter(str(partial), chunk_bytes=int(chunk_mb * 1e6))
        with bars() as report:
            for number, index in enumerate(np.random.default_rng(0).permutation(len(places)).tolist()):
                writer[number] = _item(*places[index])
                report(f"writing {folder.name}", number + 1, len(places), "images")
        writer.done()
        writer.merge()
        index = json.loads((partial / INDEX).read_text("utf-8"))
        # litdata empties its cache when this changes. The same photos and settings give the same bytes.
        written = repr([[pack.digest() for pack in given], tile, overlap, chunk_mb, min_side])
        index["updated_at"] = hashlib.sha256(written.encode()).hexdigest()
        smallest = min(min(high, wide) for *_, high, wide in places)
        index["config"]["esrgan_lightning"] = {
            "format": FORMAT, "tile": tile, "overlap": overlap, "smallest": smallest,
        }  # fmt: skip
        (partial / INDEX).write_text(json.dumps(index), "utf-8")
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / INDEX


def _item(pack: Pack, photo: int, top: int, left: int, high: int, wide: int) -> dict[str, Any]:
    # The name as bytes: a string that happens to be the path of a file is taken by litdata for that file.
    return {
        "pixels": np.ascontiguousarray(pack.photo(photo)[top : top + high, left : left + wide]),
        "name": pack.names[photo].encode(),
        "place": np.array([top, left, *pack.sizes[photo].tolist()]),
    }


def _check_settings(tile: int, overlap: int, chunk_mb: float) -> None:
    if not 0 <= overlap < tile:
        raise InputError(f"--overlap={overlap} must be from 0 to below --tile={tile}")
    if not 0 < chunk_mb <= 2000:
        raise InputError(f"--chunk-mb={chunk_mb:g} must be above 0, and at most 2000")
    if tile * tile * 3 > chunk_mb * 1e6:
        raise InputError(f"--tile={tile} is too large for a chunk of --chunk-mb={chunk_mb:g}")


def _check_folder(folder: Path, need: int, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and not (overwrite and (folder / INDEX).is_file()):
        raise InputError(
            f"{folder} is not empty: choose another folder with -o, or say --overwrite to replace shards"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_room(folder, need)


def _spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Start and length of as few equal parts of a side as will do, overlapping by ``overlap`` at least."""
    count = max(1, -(-(side - overlap) // (tile - overlap)))
    length = min(side, -(-(side - overlap) // count) + overlap)
    return [((side - length) * i // max(1, count - 1), length) for i in range(count)]


class Shards:
    """Shards at an address, their index read and checked.

    Args:
        url: a folder, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``.
        cache_dir: see :func:`~esrgan_lightning.ops.files.cache_folder`; a folder's chunks are not copied.
        max_cache: size in GB (10⁹ bytes) that litdata keeps the cache to.
        endpoint: address of an S3-compatible server; None for what the environment says. Credentials are
            taken from the environment and the usual files, never from here.

    Attributes:
        tiles: how many there are.
        tile: longest side of a tile, in pixels.
        overlap: pixels that neighbouring tiles of a photo have in common.
        smallest: shortest side of all tiles.
        index: the index as it was read, by which the shards are streamed.
        digest: a hash over it.

    Raises:
        InputError: nothing is there, it may not be read, it is no index of shards, or litdata is missing.
    """

    def __init__(
        self,
        url: str | Path,
        cache_dir: str | Path | None = None,
        max_cache: float = 50.0,
        endpoint: str | None = None,
    ) -> None:
        self.url, self.cache_dir, self.max_cache, self.endpoint = url, cache_dir, max_cache, endpoint
        self.index = self._read_index()
        try:
            index = json.loads(self.index)
            own = index["config"]["esrgan_lightning"]
            if own["format"] != FORMAT:
                raise ValueError(f"format={own['format']!r}, and this version reads {FORMAT!r}")
            if index["config"]["data_format"] != _TYPES or index["config"].get("compression"):
                raise ValueError("its items are no tiles of photos")
            if not all(_CHUNK_NAME.fullmatch(each["filename"]) for each in index["chunks"]):
                raise ValueError("the name of a chunk is none")
            if not re.fullmatch("[0-9a-f]+", index.get("updated_at", "0")):  # litdata names a folder by it
                raise ValueError(f"updated_at={index['updated_at']!r}")
            self.tiles = sum(int(each["chunk_size"]) for each in index["chunks"])
            self.tile, self.overlap, self.smallest = (
                int(own[key]) for key in ("tile", "overlap", "smallest")
            )
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{self.url}/{INDEX} is no index of shards that `esrgan data shard` has written: {error}"
            ) from error
        self.digest = hashlib.sha256(self.index).hexdigest()

    def _read_index(self) -> bytes:
        try:
            from litdata.streaming.downloader import get_downloader
        except ImportError as error:
            raise needs_extra(f"{self.url} needs", "streaming") from error
        if "://" not in str(self.url):
            path = Path(self.url) / INDEX
            if not path.is_file():
                raise InputError(f"{path} is missing: give a folder that `esrgan data shard` has written")
            return path.read_bytes()
        options = self.options()
        url, storage = options["input_dir"], options.get("storage_options", {})
        try:
            with TemporaryDirectory() as folder:
                path = Path(folder, INDEX)
                get_downloader(url, folder, [], storage).download_file(f"{url}/{INDEX}", str(path))
                return path.read_bytes()
        # Each storage has errors of its own kinds, and all mean that this address could not be read.
        except Exception as error:
            raise InputError(
                f"{self.url} cannot be read: {type(error).__name__}: {error} (data.url and data.endpoint say "
                "where; credentials are taken from the environment)"
            ) from error

    def options(self) -> dict[str, Any]:
        """What ``litdata.StreamingDataset`` is told of the address."""
        url = str(self.url).rstrip("/")
        if "://" not in url:
            return {"input_dir": str(Path(url).resolve())}
        cache = str(cache_folder(self.cache_dir) / "shards")
        options = {"input_dir": url, "cache_dir": cache, "max_cache_size": f"{self.max_cache:g}GB"}
        if not url.startswith("s3://"):
            return options
        from botocore.config import Config

        # litdata tries a thousand times: with a wrong address that is a run which hangs without a word.
        retries = {"total_max_attempts": 5, "mode": "standard"}
        storage: dict[str, Any] = {"config": Config(connect_timeout=10, read_timeout=60, retries=retries)}
        return options | {
            "storage_options": storage | ({"endpoint_url": self.endpoint} if self.endpoint else {})
        }
