"""Files of object storage in a folder of bounded size, which the processes of a machine share."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from esrgan_lightning.errors import InputError

EXTRA = 'pip install "esrgan-lightning[streaming]"'
_COMING = "coming-"
_STALE_SECONDS = 3600  # after which a download that has not ended is one that was killed


class ShardCache:
    """Files by name; those that were opened longest ago are deleted when there is no room for another.

    Deleting one that is mapped into memory somewhere harms nobody: the system keeps it until its last reader
    has done with it.

    Args:
        root: the folder.
        limit: largest size in bytes; files on their way may come on top.
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
            self._make_room(size)
            with TemporaryDirectory(prefix=_COMING, dir=path.parent) as folder:
                part = Path(folder, path.name)
                fetch(part)
                part.replace(path)
        return path

    def _make_room(self, size: int) -> None:
        with FileLock(self.root / ".lock"):
            found = sorted(self._files(), key=lambda each: each[0])
            total = size + sum(length for _, length, _ in found)
            for modified, length, path in found:
                if total <= self.limit:
                    return
                if not path.parent.name.startswith(_COMING) or time.time() - modified > _STALE_SECONDS:
                    path.unlink(missing_ok=True)
                    total -= length

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                # Another process may be finishing a download, or have made room itself.
                if not name.endswith(".lock") and path.exists():
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path


def download(url: str, to: Path, endpoint: str | None = None) -> None:
    """One object of object storage into a file, by litdata.

    Args:
        url: ``s3://BUCKET/KEY``, or what else litdata knows.
        to: the file, which is not there yet.
        endpoint: address of an S3-compatible server; None for what the environment says.

    Raises:
        InputError: litdata is not installed, or the object cannot be had (named, with the reason).
    """
    try:
        from litdata.streaming.downloader import get_downloader
    except ImportError as error:
        raise InputError(f"{url} needs litdata: {EXTRA}") from error
    try:
        base = url.rpartition("/")[0]
        get_downloader(base, str(to.parent), [], _options(url, endpoint)).download_file(url, str(to))
        if not to.is_file():
            raise FileNotFoundError("nothing came")
    # Each storage has errors of its own kinds, and all of them mean that this address could not be read.
    except Exception as error:
        raise InputError(
            f"{url} cannot be read: {type(error).__name__}: {error} (data.url and data.endpoint say where; "
            "credentials are taken from the environment)"
        ) from error


def _options(url: str, endpoint: str | None) -> dict[str, Any]:
    if not url.startswith("s3://"):
        return {}
    from botocore.config import Config

    # litdata tries a thousand times: with a wrong address that is a run which hangs without a word.
    retries = {"total_max_attempts": 5, "mode": "standard"}
    options: dict[str, Any] = {"config": Config(connect_timeout=10, read_timeout=60, retries=retries)}
    return options | ({"endpoint_url": endpoint} if endpoint else {})
