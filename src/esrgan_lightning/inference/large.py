"""Pictures that fit in no memory: read, enlarged and written by rows."""

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.upscaler import Upscaler
from esrgan_lightning.ops.encode import FORMATS, png_stream, tiff_options
from esrgan_lightning.ops.files import whole_file
from esrgan_lightning.ops.modes import Pixels, with_profile

#: The most pixels of a picture that is streamed: 131,072 squared.
MAX_STREAMED = 2**34

# The formats that libvips decodes by rows, by their first bytes: never by what else it may guess.
_LOADERS = {
    b"\x89PNG": "pngload",
    b"\xff\xd8\xff": "jpegload",
    b"II*\0": "tiffload",
    b"MM\0*": "tiffload",
    b"II+\0": "tiffload",
    b"MM\0+": "tiffload",
}
_KINDS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb": 3, "rgb16": 3}  # libvips' name → channels
_DTYPES = {"uchar": np.uint8, "ushort": np.uint16}
_STRIP = 64  # rows of a strip in a TIFF


def upscale_large(upscaler: Upscaler, source: Path, target: Path) -> tuple[list[int], list[int]]:
    """Enlarges a file by rows (exactly, see ``Runner.strips``): neither picture is ever whole in memory.

    Needs the extra ``vips``. Gray and RGB, 8 and 16 bits, upright, at the model's own scale; the colour
    profile is kept.

    Args:
        upscaler: The network, one that can be streamed.
        source: PNG (not interlaced, or it is decoded as a whole), JPEG or TIFF.
        target: ``.png`` or ``.tif``, which becomes a BigTIFF in strips.

    Returns:
        [height, width] of the picture, and of the result.

    Raises:
        InputError: pyvips is missing, the file is damaged or of another kind, or the settings do not serve.
        OSError: the result cannot be written.
    """
    if upscaler.tta or upscaler.scale != upscaler.runner.scale:
        raise InputError(f"--stream works at the model's scale {upscaler.runner.scale}, without --tta")
    image, vips = _opened(source)
    height, width, scale = image.height, image.width, upscaler.runner.scale
    channels, dtype = _KINDS[image.interpretation], _DTYPES[image.format]
    has_profile = image.get_typeof("icc-profile-data")
    shape = (height * scale, width * scale, channels)
    icc = image.get("icc-profile-data") if has_profile else None
    profile = with_profile(np.empty((1, 1, channels), dtype), icc).profile
    region = vips.Region.new(image)

    def read(top: int, bottom: int) -> Tensor:
        try:
            data = region.fetch(0, top, width, bottom - top)
        except vips.Error as error:
            raise InputError(f"{source} is damaged: {_line(error)}") from error
        rows = np.frombuffer(data, dtype).reshape(bottom - top, width, channels)
        return torch.from_numpy(rows.transpose(2, 0, 1).copy())[None]

    strips = (
        np.ascontiguousarray(strip[0].permute(1, 2, 0).cpu().numpy())
        for strip in upscaler.runner.strips(read, height, width)
    )
    with whole_file(target) as partial:
        if FORMATS[target.suffix.lower()] == "PNG":
            with partial.open("wb") as file:
                for piece in png_stream(strips, shape, deep=dtype is np.uint16, profile=profile):
                    file.write(piece)
        else:
            tifffile.imwrite(
                partial,
                _tiff_strips(strips),
                shape=shape if channels == 3 else shape[:2],
                dtype=dtype,
                rowsperstrip=_STRIP,
                bigtiff=True,
                **tiff_options(channels, profile),
            )
    return [height, width], list(shape[:2])


def _opened(source: Path) -> tuple[Any, Any]:
    """The image, header read, and pyvips."""
    try:
        import pyvips
    except (ImportError, OSError) as error:  # OSError: the package without the library
        raise InputError(f"--stream needs esrgan-lightning[vips] and the library libvips: {error}") from error
    logging.getLogger("pyvips").setLevel(logging.ERROR)  # it warns of each block of what it then raises
    if not source.is_file():
        raise InputError(f"{source} is {'not a file' if source.exists() else 'missing'}; give an image file")
    try:
        with source.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"{source} may not be read: {error.strerror}") from error
    loader = next((name for magic, name in _LOADERS.items() if start.startswith(magic)), None)
    if loader is None:
        raise InputError(f"{source} is no PNG, JPEG or TIFF, which --stream reads")
    try:
        image = getattr(pyvips.Image, loader)(str(source), access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise InputError(f"{source} is not readable: {_line(error)}") from error
    if image.width * image.height > MAX_STREAMED:
        raise InputError(f"{source} has {image.width}×{image.height} pixels, the limit is {MAX_STREAMED}")
    kind = f"{image.interpretation}, {image.bands} channels, {image.format}"
    if image.format not in _DTYPES or _KINDS.get(image.interpretation) != image.bands:
        raise InputError(f"{source} is {kind}: --stream takes gray and RGB of 8 or 16 bits, without alpha")
    if image.get_typeof("orientation") and image.get("orientation") != 1:
        raise InputError(f"{source} is to be turned (EXIF orientation), which takes it whole: turn it first")
    return image, pyvips


def _tiff_strips(strips: Iterator[Pixels]) -> Iterator[bytes]:
    """Strips of any height as compressed ones of ``_STRIP`` rows; the last may have fewer."""
    rest: Pixels | None = None
    for strip in strips:
        rows = strip if rest is None else np.concatenate([rest, strip])
        full = len(rows) // _STRIP * _STRIP
        yield from (_packed(rows[top : top + _STRIP]) for top in range(0, full, _STRIP))
        rest = rows[full:]
    if rest is not None and len(rest):
        yield _packed(rest)


def _packed(rows: Pixels) -> bytes:
    """Horizontal differences, deflated (TIFF 6.0, section 14: predictor 2)."""
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.tobytes())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
