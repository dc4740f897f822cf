"""Folders of photos as packs: decoded once, kept in a cache, made anew when a photo changes."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from esrgan_lightning.data.packfile import Pack
from esrgan_lightning.data.packing import items_of, pack
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import cache_folder

logger = logging.getLogger(__name__)


def packed(
    sources: Sequence[str | Path], cache_dir: str | Path | None = None, *, skip_bad: bool = False
) -> Pack:
    """The pack of these photos, out of the cache where it is there already.

    Names, sizes and times of change of all files decide whether it still holds; the pack of what the files
    were before is deleted. Processes that want the same pack at the same time wait for the one that makes it.

    Args:
        sources: image files and folders of them.
        cache_dir: see :func:`~esrgan_lightning.ops.files.cache_folder`.
        skip_bad: leave damaged images out, with a notice.

    Raises:
        InputError: as :func:`~esrgan_lightning.data.packing.pack`.
    """
    items = items_of(sources)
    where = _hash([str(Path(source).resolve()) for source in sources])
    what = _hash([skip_bad, *(item.identity for item in items)])
    name = Path(sources[0]).resolve().name if len(sources) == 1 else "photos"
    with locked_cache(cache_dir, f"{name}-{where}") as folder:
        path = folder / f"{name}-{where}-{what}.safetensors"
        if path.exists():
            try:
                return Pack(path)
            except InputError as error:
                logger.warning("%s: it is made anew", error)
                path.unlink()
        logger.info("%d photos are decoded once into %s", len(items), path)
        made = pack(sources, path, skip_bad=skip_bad, switch="data.skip_bad=true")
        for old in list(folder.iterdir()):
            if old.name.startswith(f"{name}-{where}-") and old != path:
                old.unlink()
    return made


@contextmanager
def locked_cache(cache_dir: str | Path | None, name: str) -> Iterator[Path]:
    """The cache's folder, made where it is missing; other processes wait before a block of the same name."""
    folder = cache_folder(cache_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"data.cache_dir={folder} cannot be made: {error.strerror}") from error
    with FileLock(folder / f"{name}.lock"):
        yield folder


def _hash(what: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
