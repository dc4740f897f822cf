"""Below ``ops.image``: files opened with care, their pixels, orientation and colour profile."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, features

from esrgan_lightning.errors import InputError

#: The most pixels of a file: a few kilobytes can claim to be terabytes (a decompression bomb).
MAX_PIXELS = 2**27
#: The most pixels of a file that has bytes for them, as a photo has: Pillow's own limit.
MAX_LARGE, _PER_BYTE = 178_956_970, 64

Source = Path | BinaryIO  # a file on the disk, or one in memory
Pixels = NDArray[Any]  # (H, W) or (H, W, C), uint8 or uint16

# Named, so that a file cannot choose one of Pillow's rarer decoders (or Ghostscript) by its content.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM", *(["AVIF"] if features.check("avif") else []))
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
)

_GRAY_ALPHA_PNG = 4  # the colour type in a PNG header
_RAW_EXIF, _XMP = b"Raw profile type e", b"XML:com.adobe.xmp\0"  # keywords of text chunks, equally long
_X_RESOLUTION, _MOST_DPI = ExifTags.Base.XResolution, 1e6
#: PNG's chunks that say what colours mean (third edition, section 11.3.2), by their length.
COLOR_CHUNKS = MappingProxyType({b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32})
#: Those that state no more than what is taken for granted: sRGB.
SRGB_CHUNKS = MappingProxyType(
    {b"cICP": bytes((1, 13, 0, 1)), b"sRGB": b"\0", b"gAMA": struct.pack(">I", 45455)}
    | {b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}
)
_PLANAR = 2  # PlanarConfiguration
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples
_CHANNELS = MappingProxyType({0: 1, 1: 1, 2: 3})  # PhotometricInterpretation → channels
# Pillow's modes of 8 bits and less → what they are read as, without and with transparency.
_MODES = MappingProxyType(
    dict.fromkeys(("1", "L", "LA", "La"), ("L", "LA"))
    | dict.fromkeys(
        ("P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"), ("RGB", "RGBA")
    )
)
# Bytes of an ICC header (ICC.1, section 7.2): all of it; where the colour space and the signature stand.
_HEADER, _SPACE, _SIGNATURE = 128, slice(16, 20), slice(36, 40)


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
            with _file(source) as file, Image.open(file, formats=_FORMATS) as image:
                most = max(MAX_PIXELS, min(MAX_LARGE, _PER_BYTE * file.seek(0, 2)))
                file.seek(0)
                if image.width * image.height > most:
                    size = f"{image.width}×{image.height} pixels"
                    raise InputError(
                        f"{name_of(source)} has {size}, the limit is {most} for a file of its bytes; "
                        "cut it into parts"
                    )
                yield image, file
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{name_of(source)} is too large: {error} Cut it into parts.") from error
    except PermissionError as error:
        raise InputError(f"{name_of(source)} may not be read: {error.strerror}") from error
    except _BROKEN as error:
        # Of what it does not know at all Pillow tells nothing but the object in Python.
        reason = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
        message = f"{name_of(source)} is not a readable image ({', '.join(_FORMATS)}){reason}"
        raise InputError(message) from error


def _file(source: Source) -> Any:
    if not isinstance(source, Path):
        return nullcontext(source)
    if not source.is_file():
        reason = "not a file" if source.exists() else "a broken link" if source.is_symlink() else "missing"
        raise InputError(f"{source} is {reason}; give an image file")
    return source.open("rb")


def orientation(image: Image.Image, file: BinaryIO) -> int:
    """The EXIF orientation that is still to be applied, 1 to 8; 1 is upright."""
    if image.format == "TIFF":
        return 1  # both decoders turn these themselves, and the size is that of the turned picture
    if image.format == "PNG" and _exif_follows(file):
        image.load()  # Pillow decodes all pixels to come to a chunk behind them
    # Not PngImageFile.getexif, which would decode all pixels of every file to look for such a chunk.
    value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
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


def decoded_apart(image: Image.Image, file: BinaryIO) -> Pixels | None:
    """What Pillow reduces to 8 bits, or misreads: (H, W) or (H, W, C), uint8 or uint16; None for the rest.

    Raises:
        ValueError: It cannot be decoded.
    """
    if image.format == "TIFF":
        return _tiff(image, file)
    if image.format == "PNG" and _png_header(file)[0] == 16:
        pixels = _by_opencv(image, file)
        if _png_header(file)[1] == _GRAY_ALPHA_PNG:
            return pixels[..., [0, 3]]  # OpenCV repeats the gray
        return pixels if pixels.ndim == 3 else with_key(pixels, image.info.get("transparency"))
    if image.format == "PPM" and image.mode == "I":
        return np.asarray(image).astype(np.uint16)  # Pillow has brought it to 0..65535
    if image.format == "PPM" and (peak := _ppm_peak(image)) > 255:
        return _stretched(_by_opencv(image, file), peak)
    return None


def _tiff(image: Image.Image, file: BinaryIO) -> Pixels | None:
    bits = set(_tiff_tag(image, ExifTags.Base.BitsPerSample, (1,)))
    color = _tiff_tag(image, ExifTags.Base.PhotometricInterpretation, 1)
    samples = int(_tiff_tag(image, ExifTags.Base.SamplesPerPixel, 1))
    apart = samples > 1 and _tiff_tag(image, ExifTags.Base.PlanarConfiguration, 1) == _PLANAR
    if bits == {12} and image.mode.startswith("I;16"):
        return _stretched(np.asarray(image), 4095)
    if bits != {16} and not (apart and bits == {8} and color in (1, 2)):
        return None
    if set(_tiff_tag(image, ExifTags.Base.SampleFormat, (1,))) != {1} or color not in _CHANNELS:
        raise ValueError("a 16-bit TIFF that is not plain gray, RGB or RGBA; convert it to PNG")
    if apart:
        turn = int(_tiff_tag(image, ExifTags.Base.Orientation, 1))
        image.load()  # tifffile may return part of a truncated file; Pillow raises
        pixels = upright(_planes(file, sorted(image.size)), turn)
    else:
        pixels = _by_opencv(image, file).reshape(image.height, image.width, -1)
    if pixels.shape[2] != samples:
        raise ValueError(f"{pixels.shape[2]} of its {samples} samples can be decoded; convert it to PNG")
    if color == 0:  # white is zero
        pixels = np.iinfo(pixels.dtype).max - pixels
    return _with_alpha(pixels, _CHANNELS[color], _tiff_tag(image, ExifTags.Base.ExtraSamples, (_STRAIGHT,)))


def has_unknown_channels(image: Image.Image) -> bool:
    """Whether a TIFF has extra samples of which it does not say that they are alpha."""
    return image.format == "TIFF" and 0 in _tiff_tag(image, ExifTags.Base.ExtraSamples, ())


def _planes(file: BinaryIO, sides: list[int]) -> Pixels:
    """(H, W, C), as it lies, of a TIFF whose channels lie one after the other: OpenCV reads noise there."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        if not isinstance(page, tifffile.TiffPage) or sorted(page.shape[1:]) != sides:
            raise ValueError("its channels cannot be told apart; convert it to PNG")
        pixels: Pixels = page.asarray().transpose(1, 2, 0)
    return pixels


def _with_alpha(pixels: Pixels, count: int, extra: tuple[int, ...]) -> Pixels:
    """Colours, and the first extra sample if it is alpha, with the colours multiplied by it or not."""
    colors = pixels[..., :count]
    if pixels.shape[2] == count or extra[0] not in (_PREMULTIPLIED, _STRAIGHT):
        return colors
    alpha = pixels[..., count : count + 1]
    if extra[0] == _PREMULTIPLIED:
        peak = np.iinfo(pixels.dtype).max
        straight = colors * (peak / np.maximum(alpha, 1).astype(np.float64))
        colors = np.floor(straight.clip(0, peak) + 0.5).astype(pixels.dtype)
    return np.concatenate([colors, alpha], 2)


def _by_opencv(image: Image.Image, file: BinaryIO) -> Pixels:
    """(H, W) or (H, W, C) uint16."""
    image.load()  # OpenCV may return part of a truncated file; Pillow raises
    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("its 16-bit samples cannot be decoded")
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _stretched(pixels: Pixels, peak: int) -> Pixels:
    """0..peak to 0..65535."""
    return ((pixels.astype(np.uint32) * 65535 + peak // 2) // peak).astype(np.uint16)


def _ppm_peak(image: Image.Image) -> int:
    """The largest value of a sample, as the header states it."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ()
    return args[1] if isinstance(args, tuple) and len(args) > 1 and isinstance(args[1], int) else 255


def _png_header(file: BinaryIO) -> tuple[int, int]:
    """(bit depth, colour type): the bytes 24 and 25 of any PNG."""
    place = file.tell()
    file.seek(24)
    depth, color = file.read(2)
    file.seek(place)
    return depth, color


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The chunks of a PNG, each by name and length, while the file stands at its data."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        start = file.tell()
        yield kind, length
        file.seek(start + length + 4)


def color_chunks(image: Image.Image, file: BinaryIO) -> dict[bytes, bytes]:
    """The chunks of a PNG that say, besides a profile, what its colours mean; whole ones."""
    found: dict[bytes, bytes] = {}
    if image.format == "PNG":
        place = file.tell()
        for kind, length in png_chunks(file):
            if kind == b"IDAT":
                break
            if COLOR_CHUNKS.get(kind) == length:
                found[kind] = file.read(length)
        file.seek(place)
    return found


def dpi_of(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, across and down, as the file states them."""
    exif, (across, down) = Image.Image.getexif(image), image.info.get("dpi", (0, 0))
    if image.format == "JPEG" and image.info.get("jfif_unit", 0) == 0 and _X_RESOLUTION not in exif:
        return None  # Pillow invents 72
    if not across and image.format in ("WEBP", "AVIF"):
        unit = {2: 1.0, 3: 2.54}.get(exif.get(ExifTags.Base.ResolutionUnit, 2), 0.0)
        across, down = (unit * exif.get(tag, 0) for tag in (_X_RESOLUTION, ExifTags.Base.YResolution))
    dpi = float(across), float(down)
    return dpi if all(0 < each < _MOST_DPI for each in dpi) else None


def _exif_follows(file: BinaryIO) -> bool:
    """Whether a chunk that may hold EXIF data stands behind the pixels."""
    place, pixels = file.tell(), False
    try:
        for kind, length in png_chunks(file):
            pixels |= kind == b"IDAT"
            if pixels and (kind == b"eXIf" or file.read(min(length, len(_RAW_EXIF))) in (_RAW_EXIF, _XMP)):
                return True
        return False
    finally:
        file.seek(place)


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default)  # type: ignore[attr-defined]


class Colors(NamedTuple):
    """Pixels, the ICC profile that describes them, and what a person should know of how they were made."""

    pixels: Pixels
    profile: bytes | None
    notes: tuple[str, ...]


def colors_of(image: Image.Image) -> Colors:
    """The pixels of a PIL image: uint8 (H,W) or (H,W,C), or uint16 (H,W) for the modes I;16.

    A palette becomes RGB or RGBA, bilevel becomes gray. CMYK becomes sRGB through its profile where it has
    one, else by Pillow's plain formula.

    Raises:
        InputError: A mode of other samples (32-bit, floating).
    """
    icc = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        return with_profile(
            with_key(np.asarray(image).astype(np.uint16), image.info.get("transparency")), icc
        )
    if image.mode not in _MODES:
        raise InputError(f"samples of mode {image.mode!r}; convert it to 8 or 16 bits")
    if image.mode == "CMYK":
        return _from_cmyk(image, icc)
    return with_profile(np.asarray(image.convert(_MODES[image.mode][image.has_transparency_data])), icc)


def with_key(gray: Pixels, key: object) -> Pixels:
    """(H,W) as it is, or with alpha (H,W,2) where one level, the key, stands for transparency."""
    if not isinstance(key, int):
        return gray
    alpha = np.where(gray == key, 0, np.iinfo(gray.dtype).max).astype(gray.dtype)
    return np.stack([gray, alpha], 2)


def with_profile(pixels: Pixels, icc: object) -> Colors:
    """Keeps a profile that belongs to such pixels; another is left out, with a note."""
    if not icc:
        return Colors(pixels, None, ())
    if not isinstance(icc, bytes) or not _is_profile(icc):
        return Colors(pixels, None, ("its colour profile is damaged and was left out",))
    gray = pixels.ndim == 2 or pixels.shape[2] < 3
    if icc[_SPACE] != (b"GRAY" if gray else b"RGB "):
        space = icc[_SPACE].decode("ascii", "replace").strip()
        kind = "gray" if gray else "RGB"
        return Colors(pixels, None, (f"its colour profile is for {space}, not {kind}, and was left out",))
    return Colors(pixels, icc, ())


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Colors:
    if not icc or not _is_profile(icc) or icc[_SPACE] != b"CMYK":
        note = "its CMYK colours became RGB without a profile: they may look different"
        return Colors(np.asarray(image.convert("RGB")), None, (note,))
    srgb = ImageCms.createProfile("sRGB")
    try:
        rgb = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(BytesIO(icc)), srgb, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        raise InputError(f"its CMYK profile is not readable ({error}); convert it to RGB first") from error
    if rgb is None:
        raise RuntimeError("Pillow returned no image")
    return Colors(np.asarray(rgb), None, ("its CMYK colours became sRGB through its profile",))


def _is_profile(icc: bytes) -> bool:
    stated = int.from_bytes(icc[:4], "big")
    return len(icc) >= _HEADER and icc[_SIGNATURE] == b"acsp" and _HEADER <= stated <= len(icc)
