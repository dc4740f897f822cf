"""Images of materials: MINC-2500 as it is unpacked, or a folder for each class; are they whole?"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from esrgan_lightning.data.packing import locked
from esrgan_lightning.errors import InputError, first_few
from esrgan_lightning.ops import list_images, read_rgb
from esrgan_lightning.ops.files import as_text, cache_folder

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
                    f"data.root={self.root}: no image for {what} of the class {first_few(missing)}: each "
                    "class needs some"
                )
        twice = [name for name, count in Counter(name for name, _ in self.images()).items() if count > 1]
        if twice:
            raise InputError(
                f"data.root={self.root}: listed twice: {first_few(twice)}; each image may stand once"
            )

    def images(self) -> list[tuple[str, int]]:
        """Those of all parts."""
        return [*self.train, *self.val, *self.test]

    def digest(self) -> str:
        """A hash over the training images: names, classes and sizes in bytes."""
        known = hashlib.sha256(json.dumps(self.classes).encode())
        for name, label in self.train:
            known.update(f"{as_text(name)}\0{label}\0{(self.root / name).stat().st_size}\n".encode())
        return known.hexdigest()


def check_images(materials: Materials, cache_dir: str | Path | None = None) -> None:
    """Reads every image once, so that a broken one is told before training; what was found whole is noted.

    Names, sizes and times of change decide whether the note in the cache still holds. Processes that check
    the same images at the same time wait for the first one.

    Raises:
        InputError: some cannot be read: the first ones are named.
    """
    paths = [materials.root / name for name, _ in materials.images()]
    known = hashlib.sha256(as_text(materials.root.resolve()).encode())
    for path in paths:
        stat = path.stat()
        name = as_text(path.relative_to(materials.root))
        known.update(f"\0{name}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    name = f"materials-{known.hexdigest()[:24]}"
    with locked(cache_folder(cache_dir), name) as folder:
        note = folder / f"{name}.whole"
        if note.exists():
            return
        logger.info("%d images are read once, to find broken ones", len(paths))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            faults = [fault for fault in pool.map(_fault, paths) if fault]
        if faults:
            raise InputError(f"{len(faults)} of {len(paths)} images cannot be read: {first_few(faults, 3)}")
        note.touch()


def _fault(path: Path) -> str | None:
    try:
        read_rgb(path)
    except InputError as error:
        return str(error)
    return None


MINC_SPLITS = 5


def minc_folder(root: str | Path, split: int = 1) -> Materials:
    """MINC-2500 as it is unpacked: ``images/CLASS/FILE`` and the lists ``labels/{train,validate,test}N.txt``.

    Bell, Upchurch, Snavely, Bala: Material Recognition in the Wild with the Materials in Context Database,
    CVPR 2015, section 5.4: 23 classes, 2,500 images of 362×362 each.

    Args:
        root: the folder that holds ``images`` and ``labels``.
        split: N, which of its five divisions into parts.

    Raises:
        InputError: another layout, a line that is no image below ``images``, or an image that is missing.
    """
    root = Path(root)
    if split not in range(1, MINC_SPLITS + 1):
        raise InputError(f"data.split={split} must be a whole number from 1 to {MINC_SPLITS}")
    parts = [_listed(root, f"labels/{part}{split}.txt") for part in ("train", "validate", "test")]
    names = [name for part in parts for name in part]
    if missing := [name for name in names if not (root / name).is_file()]:
        raise InputError(
            f"data.root={root}: {len(missing)} of {len(names)} listed images are missing: "
            f"{first_few(missing)}"
        )
    classes = tuple(sorted({_class_of(name) for name in names}))
    labelled = [[(name, classes.index(_class_of(name))) for name in part] for part in parts]
    return Materials(root, classes, *labelled)


def class_folders(root: str | Path, *, val_share: float = 0.1, seed: int = 0) -> Materials:
    """A folder for each class, below ``train`` and ``val`` (and ``test``), or all below the root itself.

    In the latter case some images of each class are held out: those whose names have the lowest hashes. That
    is the same choice wherever the folder lies.

    Args:
        root: the folder.
        val_share: the share of each class that is held out, at least one image.
        seed: of the hash.

    Raises:
        InputError: another layout, a class without an image, or ``train`` and ``val`` of different classes.
    """
    root = Path(root)
    if not 0 < val_share < 1:
        raise InputError(f"data.val_share={val_share} must lie between 0 and 1")
    given = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    if "train" not in given and "val" not in given:
        classes = _subfolders(root)
        train: list[tuple[str, int]] = []
        val: list[tuple[str, int]] = []
        for label, name in enumerate(classes):
            images = sorted(_images(root, name), key=lambda image: _hash(seed, image))
            held_out = max(1, round(val_share * len(images)))
            val += [(image, label) for image in sorted(images[:held_out])]
            train += [(image, label) for image in sorted(images[held_out:])]
        return Materials(root, classes, train, val)
    if not {"train", "val"} <= set(given):
        raise InputError(f"data.root={root} has {given[0]} alone: give both train and val, or neither")
    classes = _subfolders(root / "train")
    for part in given[1:]:
        if different := set(classes) ^ set(_subfolders(root / part)):
            raise InputError(
                f"data.root={root}: train and {part} differ in the class {first_few(sorted(different))}: "
                "give each class a folder in both"
            )
    labelled = [
        [(image, label) for label, name in enumerate(classes) for image in _images(root, f"{part}/{name}")]
        for part in given
    ]
    return Materials(root, classes, *labelled)


def _listed(root: Path, name: str) -> list[str]:
    path = root / name
    if not path.is_file():
        raise InputError(
            f"data.root={root} is not MINC-2500 as it is unpacked: {name} is missing; give the folder that "
            "holds images and labels, or data=materials for a folder of each class"
        )
    names = [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    for each in names:
        parts = PurePosixPath(each).parts
        # A list is from outside: it may name what lies below images, and nothing else.
        if len(parts) != 3 or parts[0] != "images" or ".." in parts or "\\" in each or "\0" in each:
            raise InputError(f"{path}: {each!r} is not images/CLASS/FILE")
    return names


def _class_of(name: str) -> str:
    return PurePosixPath(name).parts[1]


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise InputError(f"data.root: {folder} is no folder: give one that has a folder for each class")
    there = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not there:
        raise InputError(f"data.root: {folder} has no folder inside: it takes one for each class")
    if {"images", "labels"} <= set(there):
        raise InputError(f"data.root: {folder} has images and labels, as MINC-2500: give data=minc")
    return tuple(there)


def _images(root: Path, name: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_images(root / name)]


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{as_text(name)}".encode()).digest()
