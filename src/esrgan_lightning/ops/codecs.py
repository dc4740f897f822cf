"""Below ``ops.image``: opening a file with care, its depth and orientation, and the codecs for 16 bits."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, features

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.modes import Pixels

#: The most pixels of a file: a few kilobytes can claim to be terabytes (a decompression bomb).
MAX_PIXELS = 2**27

#: A file on the disk, or one in memory.
Source = Path | BinaryIO

# What the decoders raise on a damaged or hostile file.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)

_GRAY_ALPHA_PNG = 4  # the colour type in a PNG header


@cache
def _formats() -> tuple[str, ...]:
    """Named, so that a file cannot choose one of Pillow's rarer decoders (or Ghostscript) by its content."""
    return ("PNG", "JPEG", "BMP", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else []))


def name_of(source: Source) -> str:
    """What messages call it."""
    return str(source) if isinstance(source, Path) else "the image"


@contextmanager
def opened(source: Source) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The image, header read and size checked, and its file; what goes wrong within is an InputError."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of oddities that do not touch the pixels (what does is an error), and at a size of
            # its own, where the limit here is an error.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            # Not by its path: Pillow would map an uncompressed TIFF into memory and misread a turned one.
            with _file(source) as file, Image.open(file, formats=_formats()) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}×{image.height} pixels"
                    raise InputError(
                        f"{name_of(source)} has {size}, the limit is {MAX_PIXELS}; cut it into parts"
                    )
                yield image, file
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{name_of(source)} may not be read: {error.strerror}") from error
    except _BROKEN as error:
        # Of what it does not know at all Pillow tells nothing but the object in Python.
        reason = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
        message = f"{name_of(source)} is not a readable image ({', '.join(_formats())}){reason}"
        raise InputError(message) from error


def _file(source: Source) -> Any:
    if not isinstance(source, Path):
        return nullcontext(source)
    if not source.is_file():
        reason = "not a file" if source.exists() else "a broken link" if source.is_symlink() else "missing"
        raise InputError(f"{source} is {reason}; give an image file")
    return source.open("rb")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied, 1 to 8; 1 is upright."""
    if image.format == "TIFF":
        return 1  # both decoders turn these themselves, and the size is that of the turned picture
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # Pillow would decode all pixels to look for a tag behind them
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror (H, W, C) as the EXIF orientation says."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def is_16_bit(image: Image.Image, file: BinaryIO) -> bool:
    """Whether the file has 16 bits per sample, which Pillow reduces to 8 where there are colours."""
    if image.format == "PNG":
        return _png_header(file)[0] == 16
    return image.format == "TIFF" and set(_tiff_tag(image, ExifTags.Base.BitsPerSample, (1,))) == {16}


def decode_16_bit(image: Image.Image, file: BinaryIO) -> Pixels:
    """The samples as uint16, (H, W) or (H, W, C), through OpenCV."""
    if image.format == "TIFF":
        kind = _tiff_tag(image, ExifTags.Base.SampleFormat, (1,))
        color = _tiff_tag(image, ExifTags.Base.PhotometricInterpretation, 1)
        channels = len(_tiff_tag(image, ExifTags.Base.BitsPerSample, (1,)))
        if set(kind) != {1} or color not in (1, 2) or channels == 2:
            raise ValueError("a 16-bit TIFF that is not plain gray, RGB or RGBA; convert it to PNG")
    image.load()  # OpenCV may return part of a truncated file; Pillow raises
    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("its 16-bit samples cannot be decoded")
    if image.format == "PNG" and _png_header(file)[1] == _GRAY_ALPHA_PNG:
        return pixels[..., [0, 3]]  # OpenCV repeats the gray
    return swap_red_blue(pixels)


def swap_red_blue(pixels: Pixels) -> Pixels:
    """RGB(A) ↔ BGR(A); gray stays."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _png_header(file: BinaryIO) -> tuple[int, int]:
    """(bit depth, colour type): the bytes 24 and 25 of any PNG."""
    place = file.tell()
    file.seek(24)
    depth, color = file.read(2)
    file.seek(place)
    return depth, color


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
