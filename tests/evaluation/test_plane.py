"""The perception-distortion plane: places against the axes' own arithmetic, and what a page must not do."""

import io
import pickle
import re
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from esrgan_lightning import Upscaler
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import Blend, Plane, plane_page, plane_png
from esrgan_lightning.evaluation.plane_html import ticks
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights import save_generator

EVIL = "<script>alert('$x$')</script>"
ROWS = {
    "bicubic": {"rmse_y": 14.0, "niqe": 8.0},
    "psnr": {"rmse_y": 10.0, "niqe": 7.0},
    "gan": {"rmse_y": 12.0, "niqe": 5.0},
    EVIL: {"rmse_y": 11.0, "niqe": float("nan")},
    "α 0.5": {"rmse_y": 10.5, "niqe": 6.0},
}
CURVE = Plane(curve={"psnr": 0.0, "α 0.5": 0.5, "gan": 1.0})


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


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


def test_the_curve_runs_by_alpha_and_what_lies_along_it_has_no_mark_of_its_own():
    """Breaks where the curve would follow the order of the table, or a NaN would be drawn somewhere."""
    points = CURVE.points(ROWS)
    assert EVIL not in points
    assert CURVE.along(points) == [(0.0, 10.0, 7.0), (0.5, 10.5, 6.0), (1.0, 12.0, 5.0)]
    assert set(CURVE.marks(ROWS)) == {"bicubic", "psnr", "gan", EVIL}
    assert len(set(CURVE.marks(ROWS).values())) == 4


def test_the_page_puts_each_point_where_its_figures_are():
    """On both axes the places are linear in the figures: three points on a line stay on one."""
    tags = Tags(plane_page({"set5": ROWS}, CURVE, scale=4)).tags
    place = {a["data-name"]: (float(a["cx"]), float(a["cy"])) for tag, a in tags if tag == "circle"}
    assert set(place) == {"bicubic", "psnr", "gan", "α 0.5"}
    share = [(place["bicubic"][i] - place["psnr"][i]) / (place["gan"][i] - place["psnr"][i]) for i in (0, 1)]
    assert share == pytest.approx([2.0, -0.5], abs=0.01)  # (14−10)/(12−10), (8−7)/(5−7)
    assert place["gan"][0] > place["psnr"][0]
    assert place["gan"][1] > place["psnr"][1]  # lower figures lie lower
    line = next(a["points"] for tag, a in tags if tag == "polyline")
    assert [tuple(map(float, p.split(","))) for p in line.split()] == [
        place[name] for name in ("psnr", "α 0.5", "gan")
    ]
    assert "gan: rmse_y 12.00, niqe 5.00" in [a.get("aria-label") for _, a in tags]


def test_the_page_asks_for_nothing_and_runs_nobody_elses_script():
    page = plane_page({EVIL: ROWS}, CURVE, scale=4)
    tags = Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 1  # its own
    assert not [a for _, a in tags if {"src", "href"} & a.keys()]
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|\$[a-z]+\b", page.replace("&#x27;$x$&#x27;", ""))


def test_regions_are_in_sight_even_where_no_model_is():
    tags = Tags(plane_page({"set5": ROWS}, Plane(regions=True), scale=4)).tags
    bounds = [float(a["x1"]) for tag, a in tags if a.get("class") == "bound"]
    assert len(bounds) == 3
    assert all(64 < x < 624 for x in bounds)  # the axes' box, in which no model lies at 16


def test_a_set_without_figures_says_so_and_the_png_has_a_panel_for_each():
    nothing = {"bicubic": {"rmse_y": 1.0, "niqe": float("nan")}}
    assert "No model has both figures" in plane_page({"set5": nothing}, Plane(), scale=4)
    one, two = (
        Image.open(io.BytesIO(plane_png(results, CURVE, scale=4)))
        for results in ({"a$b": ROWS}, {"a$b": ROWS, EVIL: nothing})
    )
    assert two.width > 1.5 * one.width
    drawn = torch.frombuffer(bytearray(one.convert("RGB").tobytes()), dtype=torch.uint8).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x80, 0x80, 0x80)):  # psnr, gan, bicubic
        assert (drawn == torch.tensor(colour, dtype=torch.uint8)).all(1).sum() > 30


@pytest.mark.parametrize(("low", "high"), [(0.001, 0.0031), (5.0, 5.2), (0.0, 1e4)])
def test_ticks_are_round_few_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    assert low <= found[0] < found[-1] <= high
    assert all(len(f"{tick:g}") <= 6 for tick in found)


def test_a_blend_is_the_network_between(tmp_path):
    """Breaks if the ends are swapped or outputs are mixed in place of weights."""
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(RRDBNet(num_features=4, num_blocks=1, growth_channels=2, init_scale=1.0).eval())
        save_generator(tmp_path / f"{seed}.safetensors", nets[-1])
    lr = torch.randint(0, 256, (3, 8, 9), dtype=torch.uint8)
    blend = Blend([tmp_path / "0.safetensors", tmp_path / "1.safetensors"], 0.25, 4, device="cpu")
    with torch.no_grad():
        for mine, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            mine.mul_(0.75).add_(0.25 * other)
    expected = Upscaler(nets[0], device="cpu").upscale(lr)
    assert torch.equal(blend(lr), expected)
    assert torch.equal(pickle.loads(pickle.dumps(blend))(lr), expected)  # as another process gets it
    with pytest.raises(InputError, match="scale"):
        Blend([tmp_path / "0.safetensors", tmp_path / "1.safetensors"], 0.25, 2)
