"""Pictures of pictures: crops side by side under their names."""

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from esrgan_lightning.errors import InputError

#: White pixels around each tile.
GAP = 4

_LARGEST, _SMALLEST = 26, 11  # pixels of the labels' font
# Pillow's own font has no Greek letters and no mathematical signs.
_SPELT = str.maketrans({"α": "alpha", "β": "beta", "η": "eta", "λ": "lambda", "×": "x", "–": "-", "−": "-"})


def comparison(rows: Sequence[Sequence[Tensor]], labels: Sequence[str]) -> Tensor:
    """Rows of tiles under one line of labels, columns as wide as the widest tile or label.

    Args:
        rows: Tiles (3,h,w) or (1,h,w), uint8; in each row one for each label, all of one size.
        labels: ASCII, one for each column. A few Greek letters and signs that the font lacks are spelt out.

    Returns:
        uint8 (3,H,W) on white, ``GAP`` pixels between tiles and around them.
    """
    names = [label.translate(_SPELT) for label in labels]
    width = max(row[0].shape[-1] for row in rows)
    font, longest = _fitted(names, width)
    column = max(width, longest)
    ascent, descent = font.getmetrics()
    header = ascent + descent + 2 * GAP
    height = header + sum(row[0].shape[-2] + GAP for row in rows)
    canvas = np.full((height, GAP + (column + GAP) * len(names), 3), 255, dtype=np.uint8)

    lefts = [GAP + index * (column + GAP) for index in range(len(names))]
    top = header
    for row in rows:
        for tile, left in zip(row, lefts, strict=True):
            h, w = tile.shape[-2:]
            start = left + (column - w) // 2
            canvas[top : top + h, start : start + w] = tile.permute(1, 2, 0).cpu().numpy()
        top += h + GAP

    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for name, left in zip(names, lefts, strict=True):
        draw.text((left + column / 2, GAP), name, fill=(0, 0, 0), font=font, anchor="ma")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def text_tile(text: str, height: int, width: int) -> Tensor:
    """uint8 (3,H,W): lines of ASCII in the middle of a white tile, as large as fits its width."""
    image = Image.new("RGB", (width, height), "white")
    font = _fitted(text.splitlines(), width)[0]
    middle = (width / 2, height / 2)
    ImageDraw.Draw(image).multiline_text(middle, text, fill=(0, 0, 0), font=font, anchor="mm", align="center")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def pixels_as_squares(image: Tensor, times: int) -> Tensor:
    """(C,h,w) → (C,times·h,times·w): each pixel repeated."""
    return image.repeat_interleave(times, -2).repeat_interleave(times, -1)


def pillow(image: Tensor) -> Image.Image:
    """An image of Pillow's out of uint8 (3,H,W) or (1,H,W)."""
    return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy())


def webp(image: Tensor, *, longest: int | None = None) -> bytes:
    """A lossless WebP file of uint8 (3,H,W) or (1,H,W); with ``longest`` a lossy one, no larger than that."""
    picture, buffer = pillow(image), io.BytesIO()
    if longest is not None:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    picture.save(buffer, "WEBP", lossless=longest is None, quality=80 if longest is None else 88)
    return buffer.getvalue()


def png_of(figure: Any, *, dpi: int = 120) -> bytes:
    """A figure of matplotlib's as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def plain(text: str) -> str:
    """Matplotlib takes what stands between dollars for formulas."""
    return text.replace("$", r"\$")


def columns(picture: Tensor, labels: Sequence[str]) -> list[Tensor]:
    """The columns, uint8 (3,h,w), of a :func:`comparison` whose labels are no wider than its tiles.

    Raises:
        InputError: the picture is no comparison of so many columns.
    """
    width, rest = divmod(picture.shape[-1] - GAP, len(labels))
    if rest or width <= GAP:
        raise InputError(f"a picture of {tuple(picture.shape)} is no comparison with {len(labels)} columns")
    ascent, descent = _fitted(labels, width - GAP)[0].getmetrics()
    lefts = [GAP + index * width for index in range(len(labels))]
    return [picture[:, ascent + descent + 2 * GAP : -GAP, left : left + width - GAP] for left in lefts]


def _fitted(names: Sequence[str], width: int) -> tuple[ImageFont.FreeTypeFont, int]:
    """The largest font in which every name fits the width, and how wide the longest name is in it."""
    for size in range(_LARGEST, _SMALLEST - 1, -1):
        longest = max(math.ceil(_font(size).getlength(name)) for name in names)
        if longest <= width:
            break
    return _font(size), longest


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have it
    return font
