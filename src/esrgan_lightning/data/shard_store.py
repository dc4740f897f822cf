"""The chunks behind a URL: a folder's mapped where they lie, those of object storage through a cache."""

import hashlib
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esrgan_lightning.data.cache import cache_folder
from esrgan_lightning.data.shard_cache import ObjectStorage, ShardCache
from esrgan_lightning.data.shards import INDEX, LONGEST_INDEX, Chunk, ShardIndex
from esrgan_lightning.errors import InputError

_SCHEMES = ("s3", "gs")
_DOWNLOADS = 4  # at a time, in each process


class ShardStore:
    """Chunks by number, each checked against the hash in the index when it is downloaded or first opened.

    Args:
        url: a folder, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``.
        cache_dir: see :func:`~esrgan_lightning.data.cache.cache_folder`; a folder's chunks are not copied.
        max_cache: largest size of the cache, in GB (10⁹ bytes).
        endpoint: address of an S3-compatible server; None for what the environment says. Credentials are
            taken from the environment and the usual files, never from here.

    Raises:
        InputError: nothing is there, it may not be read, it is no index of shards, or litdata is missing.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        cache_dir: str | Path | None = None,
        max_cache: float = 50.0,
        endpoint: str | None = None,
    ) -> None:
        self.url, self.endpoint = str(url).rstrip("/"), endpoint
        scheme, found, _ = self.url.partition("://")
        if found and scheme not in _SCHEMES:
            known = ", ".join(f"{each}://" for each in _SCHEMES)
            raise InputError(f"data.url={url}: give a folder, or an address that begins with one of {known}")
        self.remote = bool(found)
        self._cache = ShardCache(cache_folder(cache_dir) / "shards", int(max_cache * 1e9))
        self.index = ShardIndex.parse(f"{self.url}/{INDEX}", self._read_index())
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._open: OrderedDict[int, Chunk] = OrderedDict()
        self._coming: dict[int, Future[Path]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._checked: set[int] = set()
        self._storage: ObjectStorage | None = None
        self._making = Lock()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_open", "_coming", "_pool", "_checked", "_storage", "_making")
        return {key: value for key, value in self.__dict__.items() if key not in own} | {"_pid": -1}

    def require_room(self, chunks: int) -> None:
        """Raises an :class:`InputError` where the cache cannot hold this many chunks at a time."""
        limit, largest = self._cache.limit, max(each.bytes for each in self.index.chunks)
        need = min(chunks, len(self.index.chunks)) * largest
        if self.remote and need > limit:
            raise InputError(
                f"data.max_cache={limit / 1e9:g} GB is too little for {self.url}: {need / 1e9:.3g} GB are in "
                "use at a time; give more, or write the shards with smaller chunks"
            )

    def chunk(self, number: int, keep: int = 64) -> Chunk:
        """Chunk ``number``, waited for where it has to be downloaded; ``keep`` of them stay open.

        Raises:
            InputError: it cannot be had, or its bytes are not those of the index.
        """
        self._own()
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        info = self.index.chunks[number]
        if self.remote:
            coming = self._coming.pop(number, None)
            path = coming.result() if coming else self._downloaded(number)
            # A chunk that came early may have been deleted since, in a cache that is nearly too small.
            data = _mapped(path if path.exists() else self._downloaded(number))
        else:
            path = self._file(info.name)
            data = _mapped(path)
            if number not in self._checked:
                self._check(number, data)
                self._checked.add(number)
        self._open[number] = found = Chunk(data, info, f"{self.url}/{info.name}")
        while len(self._open) > keep:
            self._open.popitem(last=False)
        return found

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Starts to download these in the background."""
        self._own()
        for number in numbers:
            if self.remote and number not in self._open and number not in self._coming:
                self._pool = self._pool or ThreadPoolExecutor(_DOWNLOADS)
                self._coming[number] = self._pool.submit(self._downloaded, number)

    def _own(self) -> None:
        if self._pid != os.getpid():  # a loader process: threads and locks of its parent are of no use to it
            self._forget()

    def _downloaded(self, number: int) -> Path:
        info = self.index.chunks[number]

        # Clients of object storage are slow to make, and threads may share one.
        with self._making:
            self._storage = self._storage or ObjectStorage(self.url, self.endpoint)
        storage = self._storage

        def fetch(to: Path) -> None:
            storage.download(info.name, to, info.bytes)
            self._check(number, _mapped(to))

        return self._cache.get(f"{self.index.digest()[:16]}/{info.name}", info.bytes, fetch)

    def _check(self, number: int, data: NDArray[np.uint8]) -> None:
        info = self.index.chunks[number]
        if hashlib.sha256(data.data).hexdigest() != info.sha256:
            raise InputError(
                f"{self.url}/{info.name} is damaged: its {len(data)} bytes do not have the hash that {INDEX} "
                "says; put the chunk there again"
            )

    def _read_index(self) -> bytes:
        if not self.remote:
            path = self._file(INDEX)
            if path.stat().st_size > LONGEST_INDEX:
                raise InputError(f"{path} has {path.stat().st_size} bytes: it is no index of shards")
            return path.read_bytes()
        self._cache.root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="index-", dir=self._cache.root) as folder:
            ObjectStorage(self.url, self.endpoint).download(INDEX, Path(folder, INDEX), LONGEST_INDEX)
            return Path(folder, INDEX).read_bytes()

    def _file(self, name: str) -> Path:
        path = Path(self.url).expanduser() / name
        if not path.is_file():
            raise InputError(f"{path} is missing: give a folder that `esrgan data shard` has finished")
        return path


def _mapped(path: Path) -> NDArray[np.uint8]:
    if not path.stat().st_size:  # nothing can be mapped of an empty file
        return np.empty(0, np.uint8)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
