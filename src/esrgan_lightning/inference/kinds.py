"""Kinds of images: PIL's modes as arrays of 8 or 16 bits."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from esrgan_lightning.errors import InputError

# Pillow's modes of 8 bits → what they are enlarged as, without and with transparency.
_MODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    dict.fromkeys(("1", "L", "LA", "La"), ("L", "LA"))
    | dict.fromkeys(("P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"), ("RGB", "RGBA"))
)


def pil_pixels(image: Image.Image) -> NDArray[Any]:
    """(H,W) or (H,W,C), uint8 or uint16, upright."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return np.asarray(upright).astype(np.uint16)
    if upright.mode not in _MODES:
        raise InputError(f"a PIL image of mode {image.mode!r}: convert it to L, RGB or I;16")
    return np.asarray(upright.convert(_MODES[upright.mode][upright.has_transparency_data]))
