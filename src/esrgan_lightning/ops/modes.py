"""Pillow's modes as arrays of pixels, and the colour profiles that fit them."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from esrgan_lightning.errors import InputError

Pixels = NDArray[Any]  # (H, W) or (H, W, C), uint8 or uint16

# Pillow's modes of 8 bits and less → what they are read as, without and with transparency.
_MODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    dict.fromkeys(("1", "L", "LA", "La"), ("L", "LA"))
    | dict.fromkeys(
        ("P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"), ("RGB", "RGBA")
    )
)
# Bytes of an ICC header (ICC.1, section 7.2): all of it; where the colour space and the signature stand.
_HEADER, _SPACE, _SIGNATURE = 128, slice(16, 20), slice(36, 40)


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
