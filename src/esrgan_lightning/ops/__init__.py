"""Pixels: MATLAB's resize, luma, files, depth and framing."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.ops.files import READABLE as READABLE
    from esrgan_lightning.ops.files import SUFFIXES as SUFFIXES
    from esrgan_lightning.ops.files import list_images as list_images
    from esrgan_lightning.ops.image import image_size as image_size
    from esrgan_lightning.ops.image import read_image as read_image
    from esrgan_lightning.ops.image import read_rgb as read_rgb
    from esrgan_lightning.ops.image import write_image as write_image
    from esrgan_lightning.ops.pixels import from_float as from_float
    from esrgan_lightning.ops.pixels import modcrop as modcrop
    from esrgan_lightning.ops.pixels import rgb_to_gray as rgb_to_gray
    from esrgan_lightning.ops.pixels import rgb_to_y as rgb_to_y
    from esrgan_lightning.ops.pixels import shave as shave
    from esrgan_lightning.ops.pixels import to_float as to_float
    from esrgan_lightning.ops.pixels import to_uint8 as to_uint8
    from esrgan_lightning.ops.pixels import to_uint16 as to_uint16
    from esrgan_lightning.ops.resize import BackProjection as BackProjection
    from esrgan_lightning.ops.resize import imresize as imresize

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "files": "READABLE SUFFIXES list_images",
        "image": "image_size read_image read_rgb write_image",
        "pixels": "from_float modcrop rgb_to_gray rgb_to_y shave to_float to_uint8 to_uint16",
        "resize": "BackProjection imresize",
    },
)
