"""Below ``ops.image``: opening a file with care, its depth and orientation, and the codecs for 16 bits."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from esrgan_lightning.errors import InputError

#: The most pixels of a file: a few kilobytes can claim to be terabytes (a decompression bomb).
MAX_PIXELS = 2**27

Pixels = NDArray[Any]  # (H, W) or (H, W, C), uint8 or uint16

# Named, so that a file cannot choose one of Pillow's rarer decoders (or Ghostscript) by its content.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
# What Pillow's decoders raise on a damaged or hostile file.
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
    Image.DecompressionBombError,
)

_GRAY_ALPHA_PNG = 4  # the colour type in a PNG header


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file, header read and size checked; what goes wrong in the block is an InputError that names it."""
    if not path.is_file():
        raise InputError(f"{path} is {'not a file' if path.exists() else 'missing'}; give an image file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of oddities that do not touch the pixels (what does is an error), and at a size of
            # its own, where the limit here is an error.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            # Not by its path: Pillow would map an uncompressed TIFF into memory and misread a turned one.
            with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}×{image.height} pixels"
                    raise InputError(f"{path} has {size}, the limit is {MAX_PIXELS}; cut it into parts")
                yield image
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{path} is not a readable image ({', '.join(_FORMATS)}): {error}") from error


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


def is_16_bit(path: Path, image: Image.Image) -> bool:
    """Whether the file has 16 bits per sample, which Pillow reduces to 8 where there are colours."""
    if image.format == "PNG":
        return _png_header(path)[0] == 16
    return image.format == "TIFF" and set(_tiff_tag(image, ExifTags.Base.BitsPerSample, (1,))) == {16}


def decode_16_bit(path: Path, image: Image.Image) -> Pixels:
    """The samples as uint16, (H, W) or (H, W, C), through OpenCV."""
    if image.format == "TIFF":
        kind = _tiff_tag(image, ExifTags.Base.SampleFormat, (1,))
        color = _tiff_tag(image, ExifTags.Base.PhotometricInterpretation, 1)
        channels = len(_tiff_tag(image, ExifTags.Base.BitsPerSample, (1,)))
        if set(kind) != {1} or color not in (1, 2) or channels == 2:
            raise InputError(
                f"{path} is a 16-bit TIFF that is not plain gray, RGB or RGBA; convert it to PNG"
            )
    image.load()  # OpenCV may return part of a truncated file; Pillow raises
    data = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError(f"{path} is not a readable 16-bit image")
    if image.format == "PNG" and _png_header(path)[1] == _GRAY_ALPHA_PNG:
        return pixels[..., [0, 3]]  # OpenCV repeats the gray
    return _swap_red_blue(pixels)


def encode_16_bit(pixels: Pixels, suffix: str) -> bytes:
    """(H, W, C) uint16 as a PNG or TIFF."""
    if pixels.shape[2] == 2:
        return _encode_gray_alpha_png(pixels)
    done, data = cv2.imencode(suffix, np.ascontiguousarray(_swap_red_blue(pixels)))
    if not done:
        raise RuntimeError(f"OpenCV could not encode {pixels.shape} as {suffix}")
    return data.tobytes()


def encode_8_bit(pixels: Pixels, suffix: str) -> bytes:
    """(H, W, C) uint8 in the format of the suffix."""
    buffer = BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    kind = Image.registered_extensions()[suffix]
    # JPEG is lossy anyway, but halved colour would undo some of the resolution that was just won.
    options: dict[str, dict[str, int]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": 1}}
    image.save(buffer, kind, **options.get(kind, {}))
    return buffer.getvalue()


def _swap_red_blue(pixels: Pixels) -> Pixels:
    """RGB(A) ↔ BGR(A); gray stays."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _png_header(path: Path) -> tuple[int, int]:
    """(bit depth, colour type): the bytes 24 and 25 of any PNG."""
    with path.open("rb") as file:
        depth, color = file.read(26)[24:]
    return depth, color


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default)  # type: ignore[attr-defined]


def _encode_gray_alpha_png(pixels: Pixels) -> bytes:
    """(H, W, 2) uint16 as PNG, which no library here writes (PNG specification, sections 5 and 11)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, _GRAY_ALPHA_PNG, 0, 0, 0)
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    unfiltered = np.pad(rows, ((0, 0), (1, 0)))  # each row starts with the number of its filter, 0
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(unfiltered.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
