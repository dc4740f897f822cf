"""Image files as tensors: depth, gray and alpha kept, orientation applied, nothing half read or written."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import codecs
from esrgan_lightning.ops.encode import encode_image
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.ops.pixels import to_uint8


class Photo(NamedTuple):
    """What a file holds."""

    pixels: Tensor  # as ``read_image`` gives them
    profile: bytes | None  # ICC, where the file has one that describes these pixels
    notes: tuple[str, ...]  # for a person: that only the first frame was read, that CMYK became RGB, …
    dpi: tuple[float, float] | None = None  # across and down, where the file states them
    color_chunks: Mapping[bytes, bytes] = MappingProxyType({})  # of a PNG: gAMA, cICP, …

    def encoded(self, suffix: str, quality: int | None = None) -> bytes:
        """The bytes of a file of this suffix; as ``write_image`` otherwise."""
        _, profile, _, dpi, chunks = self
        return encode_image(
            self.pixels, suffix, profile=profile, quality=quality, dpi=dpi, color_chunks=chunks
        )


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """Read a file as it is: (C, H, W), uint8, or uint16 for a 16-bit PNG or TIFF.

    C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); palettes become RGB or RGBA, bilevel becomes gray,
    CMYK becomes RGB, through the file's profile where it has one. The EXIF orientation is applied, other
    colour profiles are not. Of many frames the first is read.

    Raises:
        InputError: the file is missing, damaged, of an unknown format, has more than ``codecs.MAX_PIXELS``
            pixels or samples of another kind (32-bit, floating).
    """
    return read_photo(Path(path)).pixels


def read_photo(source: codecs.Source) -> Photo:
    """Read a file, on the disk or in memory, with what belongs to its pixels; as ``read_image`` otherwise."""
    with codecs.opened(source) as (image, file):
        several = getattr(image, "is_animated", False)
        notes = ["it has several pictures or frames: the first was taken"] if several else []
        if codecs.has_unknown_channels(image):
            notes.append("it has channels besides its colours that are not stated to be alpha: left out")
        turn, dpi = codecs.orientation(image, file), codecs.dpi_of(image)
        chunks = codecs.color_chunks(image, file)
        try:
            apart = codecs.decoded_apart(image, file)
            icc = image.info.get("icc_profile")
            colors = codecs.colors_of(image) if apart is None else codecs.with_profile(apart, icc)
        except InputError as error:
            raise InputError(f"{codecs.name_of(source)}: {error}") from error
    pixels = codecs.upright(colors.pixels.reshape(*colors.pixels.shape[:2], -1), turn)
    tensor = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
    if colors.profile:
        chunks.pop(b"sRGB", None)  # a PNG has one of the two
    if dpi and turn >= 5:
        dpi = dpi[::-1]
    return Photo(tensor, colors.profile, (*notes, *colors.notes), dpi, chunks)


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
        InputError: as ``read_image``.
    """
    with codecs.opened(Path(path)) as (image, file):
        width, height = image.size
        return (width, height) if codecs.orientation(image, file) >= 5 else (height, width)


def write_image(
    path: str | os.PathLike[str],
    image: Tensor,
    *,
    profile: bytes | None = None,
    quality: int | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Write (C, H, W) in the format of the suffix, whole or not at all; missing parent folders are made.

    PNG and TIFF keep 8 and 16 bits and alpha (TIFF not gray with alpha at 16 bits); WebP and AVIF have 8 bits
    and make gray RGB; JPEG (4:4:4) and BMP take 8 bits without alpha.

    Args:
        path: where to; an existing file is replaced.
        image: uint8 or uint16 (``to_uint8`` and ``to_uint16`` make them); C = 1 gray, 2 gray and alpha,
            3 RGB, 4 RGBA.
        profile: ICC profile of the pixels; BMP has no place for it.
        quality: 1 to 100, of JPEG (by default 95), AVIF (90) and WebP (lossless).
        dpi: pixels per inch, across and down.

    Raises:
        InputError: the suffix is unknown, or its format cannot hold this image.
        TypeError: the dtype is neither uint8 nor uint16.
    """
    path = Path(path)
    data = encode_image(image, path.suffix.lower(), name=str(path), profile=profile, quality=quality, dpi=dpi)
    write_whole(path, data)
