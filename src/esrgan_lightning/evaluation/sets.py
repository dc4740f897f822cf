"""Test sets on disk, a folder each with ``HR/`` and perhaps ``LRbicx4/``, and others' SR pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from esrgan_lightning.data.pairing import pair_files, unique_places
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, imresize, list_images, modcrop, read_image, to_uint8
from esrgan_lightning.ops.files import as_text


@dataclass(frozen=True)
class TestPair:
    """An HR file, its LR file where one is given, and the name of the image (the HR file's stem)."""

    __test__ = False  # not a test class, whatever its name begins with

    hr: Path
    lr: Path | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", as_text(self.hr.stem))

    def size(self, scale: int) -> tuple[int, int]:
        """(H, W) of the HR image cut to a multiple of the scale, from the files' headers alone.

        Raises:
            InputError: A file that is no image, an HR image smaller than the scale, or an LR file that is not
                1/scale of its HR.
        """
        height, width = image_size(self.hr)
        if min(height, width) < scale:
            raise InputError(f"{self.hr} is {height}×{width} (H×W): too small for scale {scale}")
        expected = (height // scale, width // scale)
        of_whole = (-(-height // scale), -(-width // scale))  # made of the HR before it is cut
        if self.lr is not None and (given := image_size(self.lr)) not in (expected, of_whole):
            raise InputError(
                f"{self.lr} is {given[0]}×{given[1]} (H×W) where {self.hr} at scale {scale} asks for "
                f"{expected[0]}×{expected[1]}: they are no pair"
            )
        return expected[0] * scale, expected[1] * scale

    def load(self, scale: int) -> tuple[Tensor, Tensor]:
        """LR and HR as uint8 (C,h,w) and (C,s·h,s·w), C 1 or 3; HR cut to a multiple of the scale.

        Without an LR file the LR is MATLAB's bicubic one. Alpha plays no part; 16 bits are rounded to 8.

        Raises:
            InputError: As :meth:`size`, or one is gray and the other in colour.
        """
        height, width = self.size(scale)
        hr = modcrop(eight_bit(read_image(self.hr)), scale)
        lr = imresize(hr, 1 / scale) if self.lr is None else eight_bit(read_image(self.lr))
        lr = lr[:, : height // scale, : width // scale]
        if lr.shape[0] != hr.shape[0]:
            # Some sets hold the LR of a gray image as RGB: what is compared has the channels of the HR.
            gray, color = (self.lr, self.hr) if lr.shape[0] == 1 else (self.hr, self.lr)
            if lr.shape[0] == 1 or not bool((lr == lr[:1]).all()):
                raise InputError(f"{gray} is gray and {color} in colour: they are no pair")
            lr = lr[:1]
        return lr, hr


def find_set(root: Path, name: str, scale: int) -> list[TestPair]:
    """The images of a set, found below ``root`` without regard to case, in the order of their names.

    Args:
        root: Holds a folder per set; in each ``HR/``, and ``LRbicx{scale}/`` or none. An LR file is called as
            its HR file, but for the suffixes of :func:`~esrgan_lightning.data.pairing.pair_files`.
        name: Of the set's folder.
        scale: s.

    Raises:
        InputError: A folder, an image or an LR file that is missing, or an LR file of the wrong size.
    """
    folder = inner_folder(root, name)
    if folder is None:
        held = ", ".join(path.name for path in _folders(root)) or "no folder"
        raise InputError(f"sets: root={root} has no folder {name!r}; it holds {held}")
    hr_folder, lr_folder = inner_folder(folder, "HR"), inner_folder(folder, f"LRbicx{scale}")
    if hr_folder is None:
        raise InputError(f"{folder} has no folder HR/ with the original images")
    hr = by_name(hr_folder)
    lr: Sequence[Path | None] = [None] * len(hr)
    if lr_folder is not None:
        lr = pair_files(list(hr.values()), list_images(lr_folder), hr_folder, lr_folder, scale)
    pairs = [TestPair(path, given, name) for (name, path), given in zip(hr.items(), lr, strict=True)]
    for pair in pairs:
        pair.size(scale)
    return pairs


@final
class Pictures:
    """A folder of others' SR pictures, named as the HR images, with one ending for all of a set or none.

    A set's pictures lie in ``FOLDER/SET/``, in any case, or in the folder itself: ``img_001.png``, or
    ``img_001_x4.png`` and so on for all.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"models: {folder} is not a folder of pictures")
        self.folder = folder
        self._scale = 1
        self._found: dict[str, dict[str, Path]] = {}

    def find(self, set_name: str, pairs: Sequence[TestPair], scale: int) -> None:
        """Finds the pictures of a set, and checks their sizes from the headers.

        Raises:
            InputError: One is missing or of another size than its HR, or two endings would do.
        """
        held = by_name(inner_folder(self.folder, set_name) or self.folder)
        names = [pair.name for pair in pairs]
        endings = sorted({name[len(names[0]) :] for name in held if name.startswith(names[0])})
        whole = [ending for ending in endings if all(name + ending in held for name in names)]
        if "" in whole:
            whole = [""]
        if not whole:
            missing = [name for name in names if name not in held]
            raise InputError(
                f"models: {self.folder} lacks {len(missing)} pictures of {set_name}, named as the HR images "
                f"with one ending for all or none: {', '.join(missing[:5])}{' …' * (len(missing) > 5)}"
            )
        if len(whole) > 1:
            raise InputError(
                f"models: {self.folder} holds several pictures of each image of {set_name}, ending in "
                f"{', '.join(whole)}: give each kind a folder of its own"
            )
        self._scale = scale
        self._found[set_name] = {name: held[name + whole[0]] for name in names}
        for pair in pairs:
            path = self._found[set_name][pair.name]
            # Of a network that ran on the whole image, what the HR is cut by is cut off here as well.
            expected = pair.size(scale)
            if (size := image_size(path)) not in (expected, image_size(pair.hr)):
                raise InputError(
                    f"models: {path} is {size[0]}×{size[1]} (H×W), and the HR at scale {scale} is "
                    f"{expected[0]}×{expected[1]}"
                )

    def read(self, set_name: str, image: str, channels: int) -> Tensor:
        """(C,H,W) uint8 of the HR's channels, 1 or 3; of colour where the HR is gray, the mean is taken."""
        picture = modcrop(eight_bit(read_image(self._found[set_name][image])), self._scale)
        if len(picture) > channels:
            return picture.float().mean(0, keepdim=True).round().to(torch.uint8)
        return picture.expand(channels, -1, -1)


def eight_bit(image: Tensor) -> Tensor:
    """Gray or RGB, uint8: alpha plays no part."""
    return to_uint8(image[: 1 if image.shape[0] < 3 else 3])


def _folders(root: Path) -> Sequence[Path]:
    if not root.is_dir():
        raise InputError(f"root={root} is not a folder: give the folder that holds the sets")
    return sorted(path for path in root.iterdir() if path.is_dir())


def inner_folder(root: Path, name: str) -> Path | None:
    """The folder of that name, or else one that differs in case alone."""
    alike = [path for path in _folders(root) if as_text(path.name).lower() == as_text(name).lower()]
    return next((path for path in alike if path.name == name), alike[0] if alike else None)


def by_name(folder: Path) -> dict[str, Path]:
    """The images below a folder by their paths in it, without the suffix where that is not needed."""
    files = list_images(folder)
    return dict(zip(map(as_text, unique_places(files, folder)), files, strict=True))
