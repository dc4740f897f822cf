"""A picture of all colours, by formula: photos hold few, and a network shifts what it has not seen."""

from pathlib import Path

import torch
from torch import Tensor

from esrgan_lightning.ops import write_image

_SIDE, _TILE = 384, 24


def color_chart() -> Tensor:
    """(3,384,1152) uint8: hues from white over full colour to black, and beside them 512 flat tiles.

    The tiles are the RGB cube in eight steps a side, so ordered that neighbours differ.
    """
    x, y = torch.arange(_SIDE) / _SIDE, torch.arange(_SIDE)[:, None] / (_SIDE - 1)
    hues = torch.stack([((x + shift) % 1 * 6 - 3).abs() - 1 for shift in (0.0, 2 / 3, 1 / 3)]).clamp(0, 1)
    white, black = (1 - 2 * y).clamp(0, 1), (2 * y - 1).clamp(0, 1)
    bands = (white + (1 - white) * hues[:, None]) * (1 - black)
    order = torch.arange(512) * 197 % 512
    cube = torch.stack([order // 64, order // 8 % 8, order % 8]) / 7
    rows = _SIDE // _TILE
    tiles = cube.reshape(3, rows, -1).repeat_interleave(_TILE, 1).repeat_interleave(_TILE, 2)
    return (torch.cat([bands, tiles], 2) * 255).round().byte()


def color_chart_file(folder: Path) -> Path:
    """The chart as ``color_chart.png`` in this folder, where it is written once."""
    path = folder / "color_chart.png"
    if not path.is_file():
        write_image(path, color_chart())
    return path
