"""PIL's images as pixels, and what lies under transparent ones, which must not colour their neighbours."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import to_float
from esrgan_lightning.ops.codecs import Colors, colors_of


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


#: Alpha below which a colour cannot be seen, and is often black from rounding.
FAINT = 8 / 255


def filled(colors: Tensor, alpha: Tensor) -> Tensor:
    """Colours with each pixel that hardly shows in that of the nearest pixel that does.

    A drawing program leaves black, or anything, where alpha is 0 or next to it. A network looks at its
    surroundings, and would draw that into the edges: the dark fringes seen around cut-out figures.

    Args:
        colors: (B,C,H,W).
        alpha: (B,1,H,W); 0 is transparent. Below ``FAINT`` it is taken to hide the colour, unless all of the
            image is so faint; then 0 alone does.

    Returns:
        (B,C,H,W); ``colors`` itself where nothing, or everything, is transparent.
    """
    opacity = to_float(alpha)
    most = opacity.amax((1, 2, 3), keepdim=True)
    hidden = torch.where(most < FAINT, (opacity == 0) & (most > 0), opacity < FAINT).cpu().numpy()
    if not hidden.any():
        return colors
    result = colors.clone()
    for index, (transparent,) in enumerate(hidden):
        if transparent.any():
            nearest = torch.from_numpy(_nearest(transparent)).to(colors.device)
            image = result[index].flatten(1)
            result[index] = image[:, nearest.flatten()].reshape(result[index].shape)
    return result


def _nearest(transparent: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each pixel the index, counted row by row, of the nearest one that shows: itself where it does."""
    _, labels = cv2.distanceTransformWithLabels(
        transparent.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros(int(labels.max()) + 1, np.int64)
    showing = np.flatnonzero(~transparent)
    places[labels.ravel()[showing]] = showing
    nearest: NDArray[np.int64] = places[labels]
    return nearest
