"""Pictures of pictures: crops side by side under their names."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_GAP = 4


def comparison(rows: Sequence[Sequence[Tensor]], labels: Sequence[str]) -> Tensor:
    """Rows of equally many tiles under a line of labels.

    Args:
        rows: uint8 tiles (3,h,w) or (1,h,w); within a row of one size, at most as many as there are labels.
        labels: a name for each column.

    Returns:
        uint8 (3,H,W) on white.

    Raises:
        ValueError: no rows, a row with more tiles than labels, or tiles of two sizes in a row.
    """
    if not rows:
        raise ValueError("a comparison needs at least one row")
    for row in rows:
        if len(row) != len(labels) or len({tile.shape[-2:] for tile in row}) != 1:
            raise ValueError(
                f"a row needs {len(labels)} tiles of one size: {[tuple(tile.shape) for tile in row]}"
            )
    width = max(row[0].shape[-1] for row in rows)
    header = max(14, min(32, width // 9))
    height = header + _GAP * 2 + sum(row[0].shape[-2] + _GAP for row in rows)
    canvas = torch.full((3, height, (width + _GAP) * len(labels) + _GAP), 255, dtype=torch.uint8)
    top = header + _GAP * 2
    for row in rows:
        for column, tile in enumerate(row):
            left = _GAP + column * (width + _GAP) + (width - tile.shape[-1]) // 2
            canvas[:, top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
        top += row[0].shape[-2] + _GAP
    image = Image.fromarray(canvas.permute(1, 2, 0).numpy())
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=header * 0.8)
    for column, label in enumerate(labels):
        middle = _GAP + column * (width + _GAP) + width / 2
        draw.text((middle, _GAP), label, fill=(0, 0, 0), font=font, anchor="ma")
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()
