"""Kinds of images: PIL's as pixels."""

from PIL import Image, ImageOps

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.modes import Colors, colors_of


def pil_colors(image: Image.Image) -> Colors:
    """(H,W) or (H,W,C), uint8 or uint16, upright, with the profile that describes them.

    Raises:
        InputError: A mode of 32-bit samples.
    """
    upright = ImageOps.exif_transpose(image)
    # A copy made by turning keeps the info; that of a filter may not.
    upright.info.setdefault("icc_profile", image.info.get("icc_profile"))
    try:
        return colors_of(upright)
    except InputError as error:
        raise InputError(f"a PIL image with {error}") from error
