"""Where photos come from: the embedded ones, a folder, a pair of folders."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from esrgan_lightning.data.photo_set import Photo, photos_from
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import list_images

T = TypeVar("T")

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


def folder_photos(folder: str | Path) -> list[Photo]:
    """All images below a folder, in the order of their paths."""
    return photos_from(list_images(Path(folder)), Path(folder))


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


def paired_photos(hr_folder: str | Path, lr_folder: str | Path, scale: int) -> list[Photo]:
    """HR photos with their given LR: same names (a suffix ``x4`` on the LR is allowed), sizes that fit.

    Raises:
        InputError: a count, a name or a size does not fit; the first offender is named.
    """
    hr_photos = folder_photos(hr_folder)
    lr_photos = folder_photos(lr_folder)
    if len(hr_photos) != len(lr_photos):
        raise InputError(
            f"{hr_folder} holds {len(hr_photos)} images and {lr_folder} {len(lr_photos)}: they must be pairs"
        )
    lr_by_name = {photo.name.removesuffix(f"x{scale}"): photo for photo in lr_photos}
    pairs = []
    for hr in hr_photos:
        lr = lr_by_name.get(hr.name, lr_by_name.get(hr.name.removesuffix(f"x{scale}")))
        if lr is None:
            raise InputError(f"{hr.hr} has no partner {hr.name}.* or {hr.name}x{scale}.* in {lr_folder}")
        if (hr.height // scale, hr.width // scale) != (lr.height, lr.width):
            raise InputError(
                f"{lr.hr} is {lr.height}×{lr.width}, but {hr.hr} is {hr.height}×{hr.width}: at scale {scale} "
                f"the LR must be {hr.height // scale}×{hr.width // scale}"
            )
        pairs.append(replace(hr, lr=lr.hr))
    return pairs
