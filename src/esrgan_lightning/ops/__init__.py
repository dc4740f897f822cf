"""Pixels: MATLAB's resize, luma, files, depth and framing."""

from esrgan_lightning.ops.back_projection import BackProjection
from esrgan_lightning.ops.color import rgb_to_y
from esrgan_lightning.ops.image import (
    READABLE,
    SUFFIXES,
    image_size,
    list_images,
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
    "rgb_to_y",
    "shave",
    "to_float",
    "to_uint8",
    "to_uint16",
    "write_image",
]
