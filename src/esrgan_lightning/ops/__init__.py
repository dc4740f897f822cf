"""Pixels: MATLAB's resize, luma, files, depth and framing."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.ops.back_projection import BackProjection
    from esrgan_lightning.ops.color import rgb_to_gray, rgb_to_y
    from esrgan_lightning.ops.files import READABLE, SUFFIXES, list_images
    from esrgan_lightning.ops.image import (
        image_size,
        read_image,
        read_rgb,
        write_image,
    )
    from esrgan_lightning.ops.pixels import from_float, modcrop, shave, to_float, to_uint8, to_uint16
    from esrgan_lightning.ops.resize import imresize

__all__ = [
    "READABLE",
    "SUFFIXES",
    "BackProjection",
    "from_float",
    "image_size",
    "imresize",
    "list_images",
    "modcrop",
    "read_image",
    "read_rgb",
    "rgb_to_gray",
    "rgb_to_y",
    "shave",
    "to_float",
    "to_uint8",
    "to_uint16",
    "write_image",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "back_projection": "BackProjection",
        "color": "rgb_to_gray rgb_to_y",
        "files": "READABLE SUFFIXES list_images",
        "image": "image_size read_image read_rgb write_image",
        "pixels": "from_float modcrop shave to_float to_uint8 to_uint16",
        "resize": "imresize",
    },
)
