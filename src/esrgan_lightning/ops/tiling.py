"""Large images through a network square by square."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError

Span = tuple[int, int, int, int]  # what is read from and to, what is kept from and to, in LR pixels


def upscale_tiled(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    scale: int,
    tile: int | None,
    overlap: int,
    align: int = 1,
) -> Tensor:
    """Runs a network on tiles with their surroundings, and keeps the middles.

    Equal to the network on the whole image where ``overlap`` covers its receptive field.

    Args:
        network: (B,C,h,w) → (B,C',s·h,s·w); called once per tile, left to right, then downwards, on whatever
            device it likes. Its outputs are copied, so that it may reuse its memory.
        image: (B,C,H,W).
        scale: s.
        tile: Side of a tile in LR pixels; None for the whole image at once.
        overlap: LR pixels of surroundings on each side, fewer at the image's border.
        align: What is read begins and ends at multiples of this, for networks that fold pixels first.

    Returns:
        (B,C',s·H,s·W) of the dtype that the network returns, on the device of ``image``.

    Raises:
        InputError: A network whose output is not ``scale`` times its input.
    """
    height, width = image.shape[-2:]
    tile = max(height, width) if tile is None else tile
    result: Tensor | None = None
    for top, bottom, upper, lower in spans(height, tile, overlap, align):
        for left, right, before, after in spans(width, tile, overlap, align):
            piece = network(image[..., top:bottom, left:right])
            expected = ((bottom - top) * scale, (right - left) * scale)
            if tuple(piece.shape[-2:]) != expected:
                raise InputError(
                    f"the network made {tuple(piece.shape[-2:])} of {(bottom - top, right - left)} pixels "
                    f"(H×W): at scale {scale} it is {expected}"
                )
            if result is None:
                size = (*piece.shape[:2], height * scale, width * scale)
                result = torch.empty(size, dtype=piece.dtype, device=image.device)
            rows, columns = slice(upper * scale, lower * scale), slice(before * scale, after * scale)
            kept_rows = slice((upper - top) * scale, (lower - top) * scale)
            kept_columns = slice((before - left) * scale, (after - left) * scale)
            result[..., rows, columns] = piece[..., kept_rows, kept_columns]
    assert result is not None, "an image has pixels"
    return result


def spans(length: int, tile: int, overlap: int, align: int) -> Iterator[Span]:
    """Along a side of ``length`` LR pixels: (read from, read to, keep from, keep to) of each tile."""
    for start in range(0, length, tile):
        end = min(start + tile, length)
        read_from = max(0, start - overlap) // align * align
        read_to = min(length, -(-(end + overlap) // align) * align)
        yield read_from, read_to, start, end
