"""Where photos come from: the embedded ones, a folder, a pair of folders."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from esrgan_lightning.data.pairing import pair_files
from esrgan_lightning.data.photo_set import Photo, photos_from
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import list_images

T = TypeVar("T")

#: A folder, or several.
Folders = str | Path | Sequence[str | Path]

# Photos inside the scikit-image and scikit-learn wheels: (package, folder, file).
TRAIN_PHOTOS = (
    ("skimage", "data", "astronaut.png"),
    ("skimage", "data", "coffee.png"),
    ("skimage", "data", "rocket.jpg"),
    ("skimage", "data", "hubble_deep_field.jpg"),
    ("skimage", "data", "motorcycle_left.png"),
    ("skimage", "data", "retina.jpg"),
    ("skimage", "data", "ihc.png"),
    ("skimage", "data", "brick.png"),
    ("skimage", "data", "grass.png"),
    ("skimage", "data", "gravel.png"),
    ("skimage", "data", "camera.png"),
    ("sklearn", "datasets/images", "china.jpg"),
)
HELD_OUT_PHOTOS = (
    ("skimage", "data", "chelsea.png"),
    ("sklearn", "datasets/images", "flower.jpg"),
)


def _inside_package(package: str, folder: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"data=photos needs the package {package}: pip install scikit-image scikit-learn, "
            "or use your own photos with data=folder data.train_dir=DIR"
        )
    path = Path(spec.submodule_search_locations[0], folder, name)
    if not path.is_file():
        raise InputError(f"the installed {package} has no photo {name}: use data=folder data.train_dir=DIR")
    return path


def embedded_photos(files: Sequence[tuple[str, str, str]] = TRAIN_PHOTOS) -> list[Photo]:
    """The real photos that the scikit-image and scikit-learn wheels carry."""
    return photos_from([_inside_package(*file) for file in files])


def folders_of(given: Folders) -> list[Path]:
    """One folder, or several."""
    return [Path(given)] if isinstance(given, str | Path) else [Path(each) for each in given]


def folder_photos(given: Folders) -> list[Photo]:
    """All images below a folder, in the order of their paths; of several, named with their folders."""
    folders = folders_of(given)
    several = len(folders) > 1
    return [
        photo
        for folder in folders
        for photo in photos_from(list_images(folder), folder.parent if several else folder)
    ]


def hold_out(photos: Sequence[T], count: int) -> tuple[list[T], list[T]]:
    """Splits off ``count`` photos, evenly spaced in the list: (training, validation)."""
    if count <= 0 or len(photos) <= count:
        raise InputError(
            f"cannot hold out {count} of {len(photos)} photos for validation: "
            "give more photos, or a folder for validation (data.val_dir=DIR)"
        )
    chosen = {(2 * i + 1) * len(photos) // (2 * count) for i in range(count)}
    return (
        [photo for i, photo in enumerate(photos) if i not in chosen],
        [photo for i, photo in enumerate(photos) if i in chosen],
    )


def paired_photos(
    hr: Folders,
    lr: Folders,
    scale: int,
    *,
    hr_suffix: str | None = None,
    lr_suffix: str | None = None,
) -> list[Photo]:
    """HR photos with their given LR: the same paths but for the suffixes of the field, sizes that fit.

    Args:
        hr: folder of HR photos, or several.
        lr: as many folders of their LR, in the same order.
        scale: s.
        hr_suffix: see :func:`~esrgan_lightning.data.pairing.pair_files`.
        lr_suffix: likewise.

    Raises:
        InputError: a count, a path or a size does not fit; the first offender is named.
    """
    folders = folder_pairs(hr, lr)
    pairs = []
    for hr_folder, lr_folder in folders:
        below = hr_folder.parent if len(folders) > 1 else hr_folder
        hr_photos = photos_from(list_images(hr_folder), below)
        lr_photos = {photo.hr: photo for photo in folder_photos(lr_folder)}
        if len(hr_photos) != len(lr_photos):
            raise InputError(
                f"{hr_folder} holds {len(hr_photos)} images and {lr_folder} {len(lr_photos)}: "
                "they must be pairs"
            )
        partners = pair_files(
            [photo.hr for photo in hr_photos],
            list(lr_photos),
            hr_folder,
            lr_folder,
            scale,
            hr_suffix=hr_suffix,
            lr_suffix=lr_suffix,
        )
        for photo, path in zip(hr_photos, partners, strict=True):
            pairs.append(_fitting(photo, lr_photos[path], scale))
    return pairs


def folder_pairs(hr: Folders, lr: Folders) -> list[tuple[Path, Path]]:
    """Each folder of HR photos with that of their LR.

    Raises:
        InputError: there are more of one kind.
    """
    hr_folders, lr_folders = folders_of(hr), folders_of(lr)
    if len(hr_folders) != len(lr_folders):
        raise InputError(
            f"{len(hr_folders)} folders of HR and {len(lr_folders)} of LR photos: give one for each"
        )
    return list(zip(hr_folders, lr_folders, strict=True))


def _fitting(hr: Photo, lr: Photo, scale: int) -> Photo:
    """The HR photo with its LR."""
    height, width = hr.height // scale, hr.width // scale
    if (height, width) != (lr.height, lr.width):
        raise InputError(
            f"{lr.hr} is {lr.height}×{lr.width}, but {hr.hr} is {hr.height}×{hr.width}: at scale {scale} "
            f"the LR must be {height}×{width}"
        )
    return replace(hr, lr=lr.hr)
