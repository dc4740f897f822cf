"""Images of materials: of which class, for training or for validation, and whether they are whole."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from esrgan_lightning.data.cache import cache_folder
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_rgb

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Materials:
    """Images by class, in three parts that have no image in common.

    Args:
        root: the folder that the names below are relative to.
        classes: their names; an image's class is its index here.
        train: ``(name, class)`` of each image, the name a path below ``root`` with slashes.
        val: for validation.
        test: for test; may be empty.

    Raises:
        InputError: fewer than two classes; one without an image for training or for validation; an image that
            stands in two parts, or twice.
    """

    root: Path
    classes: tuple[str, ...]
    train: Sequence[tuple[str, int]]
    val: Sequence[tuple[str, int]]
    test: Sequence[tuple[str, int]] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            found = f"one class alone ({self.classes[0]})" if self.classes else "no class"
            raise InputError(f"data.root={self.root} has {found}: two or more can be told apart")
        for part in ("train", "val"):
            there = {label for _, label in getattr(self, part)}
            if missing := [name for label, name in enumerate(self.classes) if label not in there]:
                what = "training" if part == "train" else "validation"
                raise InputError(
                    f"data.root={self.root}: no image for {what} of the class {few(missing)}: each class "
                    "needs some"
                )
        twice = [name for name, count in Counter(name for name, _ in self.images()).items() if count > 1]
        if twice:
            raise InputError(f"data.root={self.root}: listed twice: {few(twice)}; each image may stand once")

    def images(self) -> list[tuple[str, int]]:
        """Those of all parts."""
        return [*self.train, *self.val, *self.test]

    def digest(self) -> str:
        """A hash over the training images: names, classes and sizes in bytes."""
        known = hashlib.sha256(json.dumps(self.classes).encode())
        for name, label in self.train:
            known.update(f"{name}\0{label}\0{(self.root / name).stat().st_size}\n".encode())
        return known.hexdigest()


def check_images(materials: Materials, cache_dir: str | Path | None = None) -> None:
    """Reads every image once, so that a broken one is told before training; what was found whole is noted.

    Names, sizes and times of change decide whether the note in the cache still holds. Processes that check
    the same images at the same time wait for the first one.

    Args:
        materials: the images.
        cache_dir: see :func:`~esrgan_lightning.data.cache.cache_folder`.

    Raises:
        InputError: some cannot be read: the first ones are named.
    """
    paths = [materials.root / name for name, _ in materials.images()]
    known = hashlib.sha256(str(materials.root.resolve()).encode())
    for path in paths:
        stat = path.stat()
        known.update(f"\0{path.relative_to(materials.root)}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    folder = cache_folder(cache_dir)
    note = folder / f"materials-{known.hexdigest()[:24]}.whole"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"data.cache_dir={folder} cannot be made: {error.strerror}") from error
    with FileLock(note.with_suffix(".lock")):
        if note.exists():
            return
        logger.info("%d images are read once, to find broken ones", len(paths))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            faults = [fault for fault in pool.map(_fault, paths) if fault]
        if faults:
            raise InputError(f"{len(faults)} of {len(paths)} images cannot be read: {few(faults, 3)}")
        note.touch()


def _fault(path: Path) -> str | None:
    try:
        read_rgb(path)
    except InputError as error:
        return str(error)
    return None


def few(items: Sequence[str], count: int = 4) -> str:
    """The first of a list, and how many more there are."""
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more
