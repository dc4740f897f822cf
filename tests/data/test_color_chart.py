"""A chart that holds the colours which photos lack."""

import colorsys

import pytest
import torch

from esrgan_lightning.data.color_chart import color_chart, color_chart_file
from esrgan_lightning.ops import read_image


def test_the_chart_holds_the_cube_and_every_full_colour(tmp_path):
    chart = color_chart()
    assert (chart.dtype, chart.shape) == (torch.uint8, (3, 384, 1152))
    tiles = chart[:, 12::24, 384 + 12 :: 24].flatten(1).T
    levels = (torch.arange(8) / 7 * 255).round().byte()
    assert len({tuple(tile) for tile in tiles.tolist()}) == 512
    assert torch.equal(tiles.unique(), levels)
    assert torch.equal(read_image(color_chart_file(tmp_path)), chart)


@pytest.mark.parametrize("x", [0, 50, 111, 200, 383])
def test_its_hues_are_those_of_the_standard_library(x):
    """Breaks if a channel is exchanged: one half has full value, the other full saturation."""
    chart, hue = color_chart(), x / 384
    for y in (20, 100, 191, 192, 300):
        part = y / 383
        expected = colorsys.hsv_to_rgb(hue, min(1, 2 * part), min(1, 2 - 2 * part))
        assert chart[:, y, x].tolist() == pytest.approx([255 * c for c in expected], abs=1)


def test_it_is_written_once(tmp_path):
    path = color_chart_file(tmp_path / "new")
    before = path.stat().st_mtime_ns
    assert color_chart_file(tmp_path / "new").stat().st_mtime_ns == before
