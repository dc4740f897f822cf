"""What each format can hold, and images as the bytes of a file."""

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import ExifTags, Image
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.codecs import Pixels
from esrgan_lightning.ops.files import FORMATS, SUFFIXES

#: Formats with 16 bits, and those without alpha.
DEEP, OPAQUE = ("PNG", "TIFF"), ("JPEG", "BMP")
#: Formats in which gray becomes RGB.
RGB_ONLY = ("WEBP", "AVIF")
#: The most pixels of a result that is made in memory: 3 GiB of RGB in 8 bits.
MAX_RESULT = 2**30

# The longest side: libjpeg's, libwebp's, and what AVIF decoders take unless told otherwise.
_LONGEST = {"JPEG": 65500, "WEBP": 16383, "AVIF": 32768}
_GRAY_ALPHA = 2  # channels
_PNG_COLORS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels → PNG's colour type
_MOST_OF_A_CHUNK = 2**30  # bytes; PNG's limit is twice that
# zlib's Z_RLE: photos are as small as with level 4, in half the time; plots are a tenth larger.
_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_INCH, _METER = 2, 0.0254  # EXIF's unit of resolution; inches
_TIFF: dict[str, Any] = {"compression": "zlib", "predictor": True, "metadata": None, "software": False}


def check_format(suffix: str, height: int, width: int, channels: int, *, deep: bool) -> None:
    """Whether a file of this suffix can hold such a picture, before it is made.

    Raises:
        InputError: It cannot; the message names what can.
    """
    kind, size = FORMATS[suffix], f"{height}×{width} pixels (H×W)"
    if deep and kind not in DEEP:
        raise InputError(f"{suffix} holds 8 bits and the image has 16; write .png or .tif")
    if channels in (2, 4) and kind in OPAQUE:
        raise InputError(f"{suffix} holds no alpha; write .png, .webp or .tif")
    if deep and channels == _GRAY_ALPHA and kind != "PNG":
        raise InputError(f"gray with alpha in 16 bits: write .png instead of {suffix}")
    if max(height, width) > _LONGEST.get(kind, 2**31 - 1):
        raise InputError(
            f"{suffix} holds at most {_LONGEST[kind]} pixels a side and this is {size}; write .png or .tif"
        )
    if height * width > MAX_RESULT:
        raise InputError(
            f"{size} are more than the {MAX_RESULT} that fit in memory; give a smaller --scale, or cut it"
        )


def encode_image(
    image: Tensor,
    suffix: str,
    *,
    name: str = "",
    profile: bytes | None = None,
    quality: int | None = None,
    dpi: tuple[float, float] | None = None,
    color_chunks: Mapping[bytes, bytes] = MappingProxyType({}),
) -> bytes:
    """The bytes that ``write_image`` would write; ``name`` is for its messages, chunks are for PNG."""
    name = name or f"the {suffix}"
    if suffix not in SUFFIXES:
        raise InputError(f"{name} has no known suffix; use one of {', '.join(SUFFIXES)}")
    if image.dtype not in (torch.uint8, torch.uint16):
        raise TypeError(f"image is {image.dtype}; round it with to_uint8 or to_uint16 first")
    if image.ndim != 3 or image.shape[0] not in (1, 2, 3, 4) or 0 in image.shape:
        raise InputError(
            f"cannot write {tuple(image.shape)} to {name}: an image is (C, H, W) with C from 1 to 4"
        )
    channels, height, width = image.shape
    try:
        check_format(suffix, height, width, channels, deep=image.dtype is torch.uint16)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    pixels = np.ascontiguousarray(image.detach().cpu().numpy().transpose(1, 2, 0))
    kind = FORMATS[suffix]
    if kind == "TIFF":
        return _encode_tiff(pixels, profile, dpi)
    if kind == "PNG":
        deep = pixels.dtype == np.uint16
        png = _deep_png(pixels) if deep else _by_pillow(pixels, "PNG", **_PNG)
        return _with_chunks(png, profile, color_chunks, dpi)
    # JPEG is lossy anyway, but halved colour would undo some of the resolution that was just won.
    options: dict[str, Any] = {
        "JPEG": {"quality": quality or 95, "subsampling": 0},
        "WEBP": {"quality": quality} if quality else {"lossless": True},
        "AVIF": {"quality": quality or 90, "subsampling": "4:4:4"},
    }.get(kind, {})
    if profile and kind != "BMP":
        options["icc_profile"] = profile
    if dpi and kind in ("JPEG", "BMP"):
        options["dpi"] = tuple(map(round, dpi))
    elif dpi:
        exif = Image.Exif()
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
        exif[ExifTags.Base.ResolutionUnit] = _INCH
        options["exif"] = exif
    return _by_pillow(pixels, kind, **options)


def _by_pillow(pixels: Pixels, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _deep_png(pixels: Pixels) -> bytes:
    """(H, W, C) uint16 as a PNG (PNG specification, sections 5, 9 and 11); Pillow writes none of 16 bits."""
    height, width, channels = pixels.shape
    step = channels * 2
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 1  # the filter Sub: each byte less the one a pixel before
    filtered[:, 1 : 1 + step] = rows[:, :step]
    filtered[:, 1 + step :] = rows[:, step:] - rows[:, :-step]
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLORS[channels], 0, 0, 0)
    zipped = zlib.compressobj(strategy=zlib.Z_RLE)  # as small as without, three times as fast
    data = zipped.compress(filtered.data) + zipped.flush()
    parts = (data[first : first + _MOST_OF_A_CHUNK] for first in range(0, len(data), _MOST_OF_A_CHUNK))
    chunks = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", part) for part in parts), _chunk(b"IEND", b"")]
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks])


def _encode_tiff(pixels: Pixels, profile: bytes | None, dpi: tuple[float, float] | None) -> bytes:
    buffer, channels = BytesIO(), pixels.shape[2]
    color = {"photometric": "rgb" if channels > _GRAY_ALPHA else "minisblack", "iccprofile": profile}
    alpha = {"extrasamples": ["unassalpha"], "planarconfig": "contig"} if channels in (2, 4) else {}
    density = {"resolution": dpi, "resolutionunit": _INCH} if dpi else {}
    options: dict[str, Any] = {**_TIFF, **color, **alpha, **density}
    # Above 4 GiB it becomes a BigTIFF by itself.
    tifffile.imwrite(buffer, pixels[..., 0] if channels == 1 else pixels, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _with_chunks(
    png: bytes, profile: bytes | None, colors: Mapping[bytes, bytes], dpi: tuple[float, float] | None
) -> bytes:
    """Their place is behind the header, which ends at byte 33."""
    added = b"".join(_chunk(kind, data) for kind, data in colors.items())
    if profile:
        added = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)) + added
    if dpi:
        across, down = (round(each / _METER) for each in dpi)
        added += _chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    return png[:33] + added + png[33:]
