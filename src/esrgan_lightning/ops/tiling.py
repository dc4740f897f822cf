"""Large images through a network square by square."""

from collections.abc import Callable

import torch
from torch import Tensor


def upscale_tiled(
    network: Callable[[Tensor], Tensor], image: Tensor, *, scale: int, tile: int, overlap: int
) -> Tensor:
    """Runs the network on tiles with their surroundings and keeps the middles.

    Args:
        network: (B,3,h,w) → (B,3,s·h,s·w); it gets one tile at a time, on the image's device.
        image: (B,3,h,w).
        scale: s.
        tile: side of a tile in LR pixels.
        overlap: LR pixels of surroundings on each side, fewer at the image's border.

    Returns:
        (B,3,s·h,s·w), every pixel written exactly once.
    """
    batch, channels, height, width = image.shape
    result = torch.empty(batch, channels, height * scale, width * scale, dtype=image.dtype)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            above, before = max(0, top - overlap), max(0, left - overlap)
            piece = network(image[..., above : bottom + overlap, before : right + overlap])
            rows = slice((top - above) * scale, (bottom - above) * scale)
            columns = slice((left - before) * scale, (right - before) * scale)
            result[..., top * scale : bottom * scale, left * scale : right * scale] = piece[
                ..., rows, columns
            ]
    return result
