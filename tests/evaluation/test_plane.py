"""The perception-distortion plane: places against the axes' own arithmetic, and what a page must not do."""

import io

import pytest
import torch
from PIL import Image

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import Plane, plane_png

EVIL = "<script>alert('$x$')</script>"
ROWS = {
    "bicubic": {"rmse_y": 14.0, "niqe": 8.0},
    "psnr": {"rmse_y": 10.0, "niqe": 7.0},
    "gan": {"rmse_y": 12.0, "niqe": 5.0},
    EVIL: {"rmse_y": 11.0, "niqe": float("nan")},
    "α 0.5": {"rmse_y": 10.5, "niqe": 6.0},
}
CURVE = Plane(curve={"psnr": 0.0, "α 0.5": 0.5, "gan": 1.0})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"y": "psnr_y"}, "plane.y=psnr_y"),
        ({"x": "nonsense"}, "plane.x=nonsense"),
        ({"x": "niqe"}, "both niqe"),
        ({"x": "rmse_rgb", "regions": True}, "plane.regions"),
    ],
)
def test_axes_that_make_no_plane_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        Plane(**settings)


def test_the_curve_runs_by_alpha():
    """Breaks where the curve would follow the order of the table, or a NaN would be drawn somewhere."""
    points = CURVE.points(ROWS)
    assert EVIL not in points
    assert CURVE.along(points) == [(0.0, 10.0, 7.0), (0.5, 10.5, 6.0), (1.0, 12.0, 5.0)]


def test_the_png_has_a_panel_for_each_set():
    nothing = {"bicubic": {"rmse_y": 1.0, "niqe": float("nan")}}
    one, two = (
        Image.open(io.BytesIO(plane_png(results, CURVE, scale=4)))
        for results in ({"a$b": ROWS}, {"a$b": ROWS, EVIL: nothing})
    )
    assert two.width > 1.5 * one.width
    drawn = torch.frombuffer(bytearray(one.convert("RGB").tobytes()), dtype=torch.uint8).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x80, 0x80, 0x80)):  # psnr, gan, bicubic
        assert (drawn == torch.tensor(colour, dtype=torch.uint8)).all(1).sum() > 30
