"""Below ``ops.image``: what each format can hold, and pixels as the bytes of a file."""

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import ExifTags, Image

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.codecs import swap_red_blue
from esrgan_lightning.ops.files import FORMATS
from esrgan_lightning.ops.modes import Pixels

#: Formats with 16 bits, and those without alpha.
DEEP, OPAQUE = ("PNG", "TIFF"), ("JPEG", "BMP")
#: Formats in which gray becomes RGB.
RGB_ONLY = ("WEBP", "AVIF")
#: The most pixels of a result that is made in memory: 3 GiB of RGB in 8 bits.
MAX_RESULT = 2**30

# The longest side: libjpeg's, libwebp's, and what AVIF decoders take unless told otherwise.
_LONGEST = {"JPEG": 65500, "WEBP": 16383, "AVIF": 32768}
_GRAY_ALPHA = 2  # channels
_GRAY_ALPHA_TYPE = 4  # PNG's number for it
# zlib's, of Pillow: 6 is its default, and takes 2 to 3 times as long for files 2 to 6 % smaller.
_PNG_LEVEL = 4
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


def encode(
    pixels: Pixels,
    suffix: str,
    *,
    profile: bytes | None = None,
    quality: int | None = None,
    dpi: tuple[float, float] | None = None,
    color_chunks: Mapping[bytes, bytes] = MappingProxyType({}),
) -> bytes:
    """(H, W, C) uint8 or uint16, such as :func:`check_format` lets pass, as a file of this suffix.

    The rest is as for ``write_image``; ``color_chunks`` are those of a PNG that say what its colours mean.
    """
    kind, channels = FORMATS[suffix], pixels.shape[2]
    if kind == "TIFF":
        return _encode_tiff(pixels, profile, dpi)
    if kind == "PNG":
        return _with_chunks(_encode_png(pixels), profile, color_chunks, dpi)
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
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _encode_png(pixels: Pixels) -> bytes:
    channels = pixels.shape[2]
    if pixels.dtype == np.uint16 and channels == _GRAY_ALPHA:
        return _gray_alpha_png(pixels)
    if pixels.dtype == np.uint16:
        done, data = cv2.imencode(".png", np.ascontiguousarray(swap_red_blue(pixels)))
        if not done:
            raise RuntimeError(f"OpenCV could not encode {pixels.shape} as PNG")
        return data.tobytes()
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(
        buffer, "PNG", compress_level=_PNG_LEVEL
    )
    return buffer.getvalue()


def _gray_alpha_png(pixels: Pixels) -> bytes:
    """(H, W, 2) uint16 as a PNG (PNG specification, sections 5, 9 and 11): OpenCV and Pillow write none."""
    height, width, channels = pixels.shape
    step = channels * 2
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 1  # the filter Sub: each byte less the one a pixel before
    filtered[:, 1 : 1 + step] = rows[:, :step]
    filtered[:, 1 + step :] = rows[:, step:] - rows[:, :-step]
    header = struct.pack(">IIBBBBB", width, height, 16, _GRAY_ALPHA_TYPE, 0, 0, 0)
    data = _chunk(b"IDAT", zlib.compress(filtered.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + data + _chunk(b"IEND", b"")


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
