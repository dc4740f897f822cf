"""Image files as tensors: depth, gray and alpha kept, orientation applied, nothing half read or written."""

import os
import secrets
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import codecs
from esrgan_lightning.ops.pixels import to_uint8

#: The suffixes that are read and written.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

# Pillow's modes of 8 bits and less → the mode that a file of it is read as.
_MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB"}
_MODES |= {"RGBA": "RGBA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """Read a file as it is: (C, H, W), uint8, or uint16 for a 16-bit PNG or TIFF.

    C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); palettes become RGB or RGBA, bilevel becomes gray,
    CMYK becomes RGB. The EXIF orientation is applied, colour profiles are not. Of many frames the
    first is read.

    Raises:
        InputError: the file is missing, damaged, truncated, not a PNG, JPEG, BMP, WebP or TIFF, has more than
            ``codecs.MAX_PIXELS`` pixels or samples of another kind (32-bit, floating).
    """
    path = Path(path)
    with codecs.opened(path) as image:
        turn = codecs.orientation(image)
        if codecs.is_16_bit(path, image):
            pixels = codecs.decode_16_bit(path, image)
        elif image.mode not in _MODES:
            raise InputError(f"{path} has samples of kind {image.mode!r}; convert it to 8 or 16 bits")
        else:
            mode = _MODES[image.mode]
            if image.has_transparency_data:
                mode = "LA" if mode in ("L", "LA") else "RGBA"
            pixels = np.asarray(image.convert(mode))
    pixels = codecs.upright(pixels.reshape(*pixels.shape[:2], -1), turn)
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))


def read_rgb(path: str | os.PathLike[str]) -> Tensor:
    """Read a file as (3, H, W) uint8 RGB, for training: gray repeated, alpha dropped, 16 bits rounded.

    Raises:
        InputError: as ``read_image``.
    """
    image = to_uint8(read_image(path))
    color = image[: 1 if image.shape[0] < 3 else 3]
    return color.expand(3, -1, -1).contiguous()


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of what ``read_image`` would return, from the header alone.

    Raises:
        InputError: the file is missing, not an image, or too large (``codecs.MAX_PIXELS``).
    """
    with codecs.opened(Path(path)) as image:
        width, height = image.size
        return (width, height) if codecs.orientation(image) >= 5 else (height, width)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files under ``folder`` and its subfolders by known suffix, sorted; hidden ones are left out.

    Raises:
        InputError: ``folder`` is missing, is a file, or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is {'not a folder' if folder.exists() else 'missing'}; give a folder of images"
        )
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not files:
        raise InputError(f"{folder} holds no image; known are {', '.join(SUFFIXES)}")
    return files


def write_image(path: str | os.PathLike[str], image: Tensor) -> None:
    """Write (C, H, W) in the format of the suffix; under the final name there is only ever a whole file.

    PNG and TIFF keep 8 and 16 bits and alpha (TIFF not gray with alpha at 16 bits); WebP is lossless, 8 bits
    and makes gray RGB; JPEG (quality 95, 4:4:4) and BMP take 8 bits without alpha. Missing parent folders are
    made.

    Args:
        path: where to; an existing file is replaced.
        image: uint8 or uint16 (``to_uint8`` and ``to_uint16`` make them); C = 1 gray, 2 gray and alpha,
            3 RGB, 4 RGBA.

    Raises:
        InputError: the suffix is unknown, or its format cannot hold this image.
        TypeError: the dtype is neither uint8 nor uint16.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} has no known suffix; use one of {', '.join(SUFFIXES)}")
    if image.dtype not in (torch.uint8, torch.uint16):
        raise TypeError(f"image is {image.dtype}; round it with to_uint8 or to_uint16 first")
    if image.ndim != 3 or image.shape[0] not in (1, 2, 3, 4) or 0 in image.shape:
        raise InputError(
            f"cannot write {tuple(image.shape)} to {path}: an image is (C, H, W) with C from 1 to 4"
        )
    channels, deep = image.shape[0], image.dtype is torch.uint16
    pixels = np.ascontiguousarray(image.detach().cpu().numpy().transpose(1, 2, 0))
    if deep and suffix not in (".png", ".tif", ".tiff"):
        raise InputError(f"{suffix} holds 8 bits and the image has 16; write {path.with_suffix('.png')}")
    if channels in (2, 4) and suffix in (".jpg", ".jpeg", ".bmp"):
        raise InputError(f"{suffix} holds no alpha; write {path.with_suffix('.png')}")
    if deep and channels == 2 and suffix != ".png":
        raise InputError(f"gray with alpha in 16 bits: write {path.with_suffix('.png')} instead of {suffix}")

    path.parent.mkdir(parents=True, exist_ok=True)
    data = codecs.encode_16_bit(pixels, suffix) if deep else codecs.encode_8_bit(pixels, suffix)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
