"""Folders are checked before anything long starts, and the offender is named."""

import colorsys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from esrgan_lightning.data import embedded_photos, folder_photos, paired_photos
from esrgan_lightning.data.sources import (
    HELD_OUT_PHOTOS,
    TRAIN_PHOTOS,
    color_chart,
    color_chart_file,
    hold_out,
)
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_image


def save(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)


def test_embedded_photos_exist_and_the_held_out_ones_are_not_trained_on():
    training, held_out = embedded_photos(), embedded_photos(HELD_OUT_PHOTOS)
    assert len(training) == len(TRAIN_PHOTOS) == 12
    assert len(held_out) >= 2
    assert not {photo.hr for photo in training} & {photo.hr for photo in held_out}
    assert min(min(photo.height, photo.width) for photo in training) >= 192


def test_a_missing_package_says_what_to_install():
    with pytest.raises(InputError, match=r"data=photos, unlike data=folder .* the extra demo"):
        embedded_photos([("nowhere", "data", "x.png")])


def test_a_missing_photo_is_named():
    with pytest.raises(InputError, match=r"no photo gone\.png"):
        embedded_photos([("skimage", "data", "gone.png")])


def test_folders_are_searched_recursively_and_in_order(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/c/3.jpg"):
        save(tmp_path / name, 40, 50)
    (tmp_path / "notes.txt").write_text("not an image")
    photos = folder_photos(tmp_path)
    assert [photo.name for photo in photos] == ["a/1.png", "a/c/3.jpg", "b/2.png"]
    assert {(photo.height, photo.width) for photo in photos} == {(40, 50)}


def test_held_out_photos_are_spread_and_disjoint(tmp_path):
    for index in range(10):
        save(tmp_path / f"{index}.png", 40, 40)
    training, validation = hold_out(folder_photos(tmp_path), 2)
    assert [photo.name for photo in validation] == ["2.png", "7.png"]
    assert len(training) == 8
    assert not {photo.hr for photo in training} & {photo.hr for photo in validation}
    with pytest.raises(InputError, match="cannot hold out 10 of 10"):
        hold_out(folder_photos(tmp_path), 10)
    assert [len(part) for part in hold_out(folder_photos(tmp_path), 0)] == [10, 0]


def test_the_chart_holds_the_cube_and_every_full_colour(tmp_path):
    chart = color_chart()
    assert (chart.dtype, chart.shape) == (torch.uint8, (3, 384, 1152))
    tiles = chart[:, 12::24, 384 + 12 :: 24].flatten(1).T
    levels = (torch.arange(8) / 7 * 255).round().byte()
    assert len({tuple(tile) for tile in tiles.tolist()}) == 512
    assert torch.equal(tiles.unique(), levels)
    assert torch.equal(read_image(color_chart_file(tmp_path)), chart)


@pytest.mark.parametrize("x", [0, 50, 111, 200, 383])
def test_the_charts_hues_are_those_of_the_standard_library(x):
    """Breaks if a channel is exchanged: one half has full value, the other full saturation."""
    chart, hue = color_chart(), x / 384
    for y in (20, 100, 191, 192, 300):
        part = y / 383
        expected = colorsys.hsv_to_rgb(hue, min(1, 2 * part), min(1, 2 - 2 * part))
        assert chart[:, y, x].tolist() == pytest.approx([255 * c for c in expected], abs=1)


def test_the_chart_is_written_once(tmp_path):
    path = color_chart_file(tmp_path / "new")
    before = path.stat().st_mtime_ns
    assert color_chart_file(tmp_path / "new").stat().st_mtime_ns == before


class TestPaired:
    @pytest.mark.parametrize(
        ("hr", "lr", "told"),
        [
            (["a.png", "b.png"], ["a.png"], r"holds 2 images and .* 1: they must be pairs"),
            (["a.png"], ["z.png"], r"a\.png has no partner"),
            (["a.png"], ["wide/a.png"], r"a\.png has no partner"),
            (["wide/a.png"], ["wide/a.png"], r"lr.wide.a\.png is 10×11.*must be 10×10"),
            (["0.jpg", "0.png"], ["0.bmp", "0.webp"], r"0\.jpg has no partner in .*, or several"),
            (["0.png", "0x4.png"], ["0x4.png", "1.png"], r"0\.png and .*0x4\.png would both have the LR"),
        ],
    )
    def test_the_first_offender_is_named(self, tmp_path, hr, lr, told):
        for name in hr:
            save(tmp_path / "hr" / name, 41, 43)
        for name in lr:
            save(tmp_path / "lr" / name, 10, 11 if "wide" in name else 10)
        with pytest.raises(InputError, match=told):
            paired_photos(tmp_path / "hr", tmp_path / "lr", 4)

    def test_a_partner_has_the_same_path(self, tmp_path):
        """By its stem HR a/0.png got LR b/0.png, and 0.jpg that of 0.png: wrong training, without a word."""
        for name in ("a/0.png", "b/0.png", "c/0.jpg", "c/0.png", "d/0.jpg"):
            save(tmp_path / "hr" / name, 40, 40)
            save(tmp_path / "lr" / name.replace("d/0.jpg", "d/0.png"), 10, 10)
        pairs = paired_photos(tmp_path / "hr", tmp_path / "lr", 4)
        assert [pair.name for pair in pairs] == ["a/0.png", "b/0.png", "c/0.jpg", "c/0.png", "d/0.jpg"]
        found = [pair.lr.relative_to(tmp_path / "lr").as_posix() for pair in pairs]
        assert found == ["a/0.png", "b/0.png", "c/0.jpg", "c/0.png", "d/0.png"]
        (tmp_path / "lr/b").rename(tmp_path / "lr/e")
        with pytest.raises(InputError, match=r"b/0\.png has no partner in .*as b/0\.\*, b/0x4\.\*"):
            paired_photos(tmp_path / "hr", tmp_path / "lr", 4)

    @pytest.mark.parametrize(
        ("hr", "lr"),
        [("", "_x4"), ("_HR", "_LR"), ("", "_LRx4"), ("", "_bicLRx4"), ("_HR_x4", "_LRBI_x4"), ("", "x4")],
    )
    def test_suffixes_of_the_field_are_known(self, tmp_path, hr, lr):
        for name in ("a/0", "a/0x4", "b/0"):  # one of them ends like a suffix
            save(tmp_path / f"hr/{name}{hr}.png", 40, 40)
            save(tmp_path / f"lr/{name}{lr}.png", 10, 10)
        pairs = paired_photos(tmp_path / "hr", tmp_path / "lr", 4)
        assert [pair.lr.relative_to(tmp_path / "lr").as_posix() for pair in pairs] == [
            f"{pair.name.removesuffix(f'{hr}.png')}{lr}.png" for pair in pairs
        ]

    def test_other_suffixes_are_given(self, tmp_path):
        save(tmp_path / "hr/a_big.png", 40, 40)
        save(tmp_path / "lr/a_small.png", 10, 10)
        find = partial(paired_photos, tmp_path / "hr", tmp_path / "lr", 4)
        with pytest.raises(InputError, match="no partner"):
            find()
        with pytest.raises(InputError, match="for _HR"):
            find(hr_suffix="_HR")
        (pair,) = find(hr_suffix="_big", lr_suffix="_small")
        assert pair.lr.name == "a_small.png"

    def test_several_folders(self, tmp_path):
        for root in ("one", "two"):
            save(tmp_path / root / "HR/0.png", 40, 40)
            save(tmp_path / root / "LR/0.png", 10, 10)
        hr, lr = ([tmp_path / root / kind for root in ("one", "two")] for kind in ("HR", "LR"))
        pairs = paired_photos(hr, lr, 4)
        assert [pair.lr for pair in pairs] == [each / "0.png" for each in lr]
        assert [pair.name for pair in pairs] == ["HR/0.png"] * 2
        with pytest.raises(InputError, match="2 folders of HR and 1 of LR"):
            paired_photos(hr, lr[:1], 4)
