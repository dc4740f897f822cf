"""The comparison picture: every tile where it should be, labels that can be read."""

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.picture import GAP, columns, comparison

NAMES = ["LR", "bicubic", "SR"]


def tile(height, width, seed, channels=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)


def test_each_tile_sits_where_it_should_to_the_pixel():
    """A wide row and a narrow one: columns as wide as the widest tile, narrower tiles in the middle."""
    wide = [tile(50, 80, seed) for seed in range(3)]
    narrow = [tile(30, 61, seed) for seed in range(3, 6)]
    picture = comparison([wide, narrow], NAMES)
    assert picture.dtype is torch.uint8
    assert picture.is_contiguous()
    assert picture.shape[0] == 3
    assert picture.shape[2] == 3 * 80 + 4 * GAP
    header = picture.shape[1] - (50 + GAP) - (30 + GAP)

    rest = picture.clone()
    for column in range(3):
        left = GAP + column * (80 + GAP)
        assert torch.equal(picture[:, header : header + 50, left : left + 80], wide[column])
        rest[:, header : header + 50, left : left + 80] = 255
        top, left = header + 50 + GAP, left + (80 - 61) // 2
        assert torch.equal(picture[:, top : top + 30, left : left + 61], narrow[column])
        rest[:, top : top + 30, left : left + 61] = 255
    assert (rest[:, header:] == 255).all()  # nothing else below the labels
    for column in range(3):
        left = GAP + column * (80 + GAP)
        assert (rest[:, :header, left : left + 80] < 128).any()  # a label over each column
        rest[:, :header, left : left + 80] = 255
    assert (rest == 255).all()  # and none outside of its column


def test_gray_tiles_are_drawn_gray():
    gray = [tile(40, 60, seed, channels=1) for seed in range(3)]
    picture = comparison([gray], NAMES)
    assert torch.equal(picture[:, -40 - GAP : -GAP, GAP : GAP + 60], gray[0].expand(3, -1, -1))


def ink(picture, height):
    """Rows and columns in which the labels have dark pixels."""
    dark = (picture[0, :-height] < 128).nonzero()
    return dark[:, 0].tolist(), dark[:, 1].tolist()


def test_labels_of_narrow_tiles_stay_legible_and_apart():
    """A label wider than its tile would run into its neighbour, or be cut at the picture's edge."""
    names = ["interpolated alpha=0.8", "ground truth (HR)"]
    picture = comparison([[torch.full((3, 16, 16), 255, dtype=torch.uint8)] * 2], names)
    rows, columns = ink(picture, 16 + GAP)
    assert max(rows) - min(rows) >= 8  # as tall as letters that can be read
    assert min(columns) >= GAP - 1
    assert max(columns) < picture.shape[2] - GAP + 1
    middle = GAP + (picture.shape[2] - 3 * GAP) // 2 + GAP // 2
    between = (picture[:, :-20, middle - 1 : middle + 1] == 255).all()
    assert between


def test_columns_are_what_the_comparison_was_made_of():
    """Breaks if a label, a gap or a neighbour's pixel is cut with a column."""
    rows = [
        [torch.full((3, height, 64), 10 * n + i, dtype=torch.uint8) for i in range(4)]
        for n, height in enumerate((64, 48))
    ]
    found = columns(comparison(rows, ["LR", "bicubic", "SR", "HR"]), ["LR", "bicubic", "SR", "HR"])
    for index, column in enumerate(found):
        gap = torch.full((3, GAP, 64), 255, dtype=torch.uint8)
        assert torch.equal(column, torch.cat([rows[0][index], gap, rows[1][index]], dim=1))
    with pytest.raises(InputError, match="no comparison with 3 columns"):
        columns(torch.zeros(3, 50, 102, dtype=torch.uint8), ["a", "b", "c"])
