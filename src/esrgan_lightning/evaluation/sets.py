"""Test sets on disk: a folder per set, ``HR/`` in it, and ``LRbicx4/`` where the LR is given."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize, list_images, modcrop, read_image, to_float, to_uint8


@dataclass(frozen=True)
class TestPair:
    """An HR file and, where it is given, its LR file."""

    __test__ = False  # not a test class, whatever its name begins with

    hr: Path
    lr: Path | None

    def load(self, scale: int) -> tuple[Tensor, Tensor]:
        """LR and HR as uint8 (C,h,w) and (C,s·h,s·w), C 1 or 3; HR cut to a multiple of the scale."""
        hr = modcrop(_eight_bit(read_image(self.hr)), scale)
        lr = imresize(hr, 1 / scale) if self.lr is None else _eight_bit(read_image(self.lr))
        if (lr.shape[-2] * scale, lr.shape[-1] * scale) != tuple(hr.shape[-2:]):
            raise InputError(
                f"{self.lr} is {lr.shape[-2]}×{lr.shape[-1]}, but {self.hr} is "
                f"{hr.shape[-2]}×{hr.shape[-1]}: they are no pair at scale {scale}"
            )
        return lr, hr


def _eight_bit(image: Tensor) -> Tensor:
    color = image[: 1 if image.shape[0] < 3 else 3]  # alpha plays no part in a comparison
    return to_uint8(to_float(color))


def find_set(root: Path, name: str, scale: int) -> list[TestPair]:
    """The images of a set, found below ``root`` without regard to case.

    Raises:
        InputError: no such folder, no ``HR/`` in it, or an ``LRbicx…/`` that lacks an image.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    folder = next((path for path in folders if path.name.lower() == name.lower()), None)
    if folder is None:
        held = ", ".join(path.name for path in folders) or "no folder"
        raise InputError(f"sets: no folder {name!r} in root={root} (it holds {held})")
    inner = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    if "hr" not in inner:
        raise InputError(f"{folder} has no folder HR/ with the original images")
    lr_folder = inner.get(f"lrbicx{scale}")
    lr = {path.stem.removesuffix(f"x{scale}"): path for path in list_images(lr_folder)} if lr_folder else {}
    pairs = []
    for path in list_images(inner["hr"]):
        if lr_folder and path.stem not in lr:
            raise InputError(f"{lr_folder} lacks the LR of {path.name}")
        pairs.append(TestPair(path, lr.get(path.stem)))
    return pairs
