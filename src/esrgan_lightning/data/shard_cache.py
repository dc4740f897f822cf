"""Files of object storage in a folder of bounded size, which the processes of a machine share."""

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from esrgan_lightning.errors import InputError

EXTRA = 'pip install "esrgan-lightning[streaming]"'
_COMING, _ROOM = "coming-", "room"
_STALE_SECONDS = 3600  # after which a download that has not ended is one that was killed


class ShardCache:
    """Files by name; those that were opened longest ago are deleted when there is no room for another.

    Deleting one that is mapped into memory somewhere harms nobody: the system keeps it, and its room on the
    disk, until its last reader has done with it.

    Args:
        root: the folder.
        limit: largest size in bytes, with what is on its way.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit

    def get(self, name: str, size: int, fetch: Callable[[Path], None]) -> Path:
        """The file ``NAME`` below the root; where it is not there, one process has ``fetch`` write it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.exists():
                os.utime(path)  # the time of the last opening says which file is deleted first
                return path
            with TemporaryDirectory(prefix=_COMING, dir=path.parent) as folder:
                self._reserve(Path(folder, _ROOM), size)
                part = Path(folder, path.name)
                fetch(part)
                part.replace(path)
        return path

    def _reserve(self, room: Path, size: int) -> None:
        """Makes room, and a file without contents that has the size of what is to come."""
        with FileLock(self.root / ".lock"):
            found = sorted(self._files(), key=lambda each: each[0])
            total = size + sum(length for _, length, _ in found)
            for modified, length, path in found:
                if total <= self.limit:
                    break
                if path.name != _ROOM or time.time() - modified > _STALE_SECONDS:
                    if path.name == _ROOM:
                        shutil.rmtree(path.parent)  # of a process that was killed
                    else:
                        path.unlink(missing_ok=True)
                    total -= length
            with room.open("wb") as file:
                file.truncate(size)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time, size and path of each file, and of the room for those on their way."""
        for folder, _, names in os.walk(self.root):
            for name in [_ROOM] if Path(folder).name.startswith(_COMING) else names:
                path = Path(folder, name)
                if name.endswith(".lock"):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:  # another process has just finished its download
                    continue
                yield status.st_mtime, status.st_size, path


class _Bounded(io.BufferedWriter):
    """A file that takes no more bytes than it was said to get."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._most:
            raise OSError(f"it has more than the {self._most} bytes that it may have")
        return super().write(data)


class ObjectStorage:
    """Objects below one URL, fetched by litdata; each process needs one of its own.

    Args:
        url: ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``.
        endpoint: address of an S3-compatible server; None for what the environment says.

    Raises:
        InputError: litdata is not installed.
    """

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        try:
            from litdata.streaming.downloader import get_downloader
        except ImportError as error:
            raise InputError(f"{url} needs litdata: {EXTRA}") from error
        self.url = url
        self._downloader = get_downloader(url, "", [], _options(url, endpoint))

    def download(self, name: str, to: Path, most: int) -> None:
        """One object into a file of at most so many bytes.

        Raises:
            InputError: the object cannot be had (named, with the reason).
        """
        try:
            # Into an open file: download_file() refuses servers without TLS, and goes wrong after a fork.
            with _Bounded(to, most) as file:
                self._downloader.download_fileobj(f"{self.url}/{name}", file)
        # Each storage has errors of its own kinds, and all mean that this address could not be read.
        except Exception as error:
            raise InputError(
                f"{self.url}/{name} cannot be read: {type(error).__name__}: {error} (data.url and "
                "data.endpoint say where; credentials are taken from the environment)"
            ) from error


def _options(url: str, endpoint: str | None) -> dict[str, Any]:
    if not url.startswith("s3://"):
        return {}
    from botocore.config import Config

    # litdata tries a thousand times: with a wrong address that is a run which hangs without a word.
    retries = {"total_max_attempts": 5, "mode": "standard"}
    options: dict[str, Any] = {"config": Config(connect_timeout=10, read_timeout=60, retries=retries)}
    return options | ({"endpoint_url": endpoint} if endpoint else {})
