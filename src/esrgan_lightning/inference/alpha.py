"""Colour and transparency apart: what lies under transparent pixels must not colour their neighbours."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def filled(colors: Tensor, alpha: Tensor) -> Tensor:
    """Colours with each fully transparent pixel in that of the nearest pixel that shows.

    A drawing program leaves black, or anything, where alpha is 0. A network looks at its surroundings, and
    would draw that into the edges: the dark fringes seen around cut-out figures.

    Args:
        colors: (B,C,H,W).
        alpha: (B,1,H,W); 0 is transparent.

    Returns:
        (B,C,H,W); ``colors`` itself where nothing, or everything, is transparent.
    """
    hidden = (alpha == 0).cpu().numpy()
    if not hidden.any():
        return colors
    result = colors.clone()
    for index, (transparent,) in enumerate(hidden):
        if not transparent.all() and transparent.any():
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
