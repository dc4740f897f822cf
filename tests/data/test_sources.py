"""Folders are checked before anything long starts, and the offender is named."""

import numpy as np
import pytest
from PIL import Image

from esrgan_lightning.data import embedded_photos, folder_photos, paired_photos
from esrgan_lightning.data.sources import HELD_OUT_PHOTOS, TRAIN_PHOTOS, hold_out
from esrgan_lightning.errors import InputError


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
    with pytest.raises(InputError, match=r"data=photos needs the package nowhere.*data=folder"):
        embedded_photos([("nowhere", "data", "x.png")])


def test_a_missing_photo_is_named():
    with pytest.raises(InputError, match=r"no photo gone\.png"):
        embedded_photos([("skimage", "data", "gone.png")])


def test_folders_are_searched_recursively_and_in_order(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/c/3.jpg"):
        save(tmp_path / name, 40, 50)
    (tmp_path / "notes.txt").write_text("not an image")
    photos = folder_photos(tmp_path)
    assert [photo.name for photo in photos] == ["1", "3", "2"]
    assert {(photo.height, photo.width) for photo in photos} == {(40, 50)}


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        folder_photos(tmp_path)


def test_held_out_photos_are_spread_and_disjoint(tmp_path):
    for index in range(10):
        save(tmp_path / f"{index}.png", 40, 40)
    training, validation = hold_out(folder_photos(tmp_path), 2)
    assert [photo.name for photo in validation] == ["2", "7"]
    assert len(training) == 8
    assert not {photo.hr for photo in training} & {photo.hr for photo in validation}
    with pytest.raises(InputError, match="cannot hold out 10 of 10"):
        hold_out(folder_photos(tmp_path), 10)


class TestPaired:
    def test_names_may_carry_the_scale(self, tmp_path):
        for name in ("a", "b"):
            save(tmp_path / "hr" / f"{name}.png", 41, 50)
            save(tmp_path / "lr" / f"{name}x4.png", 10, 12)
        pairs = paired_photos(tmp_path / "hr", tmp_path / "lr", 4)
        assert [(pair.hr.name, pair.lr.name) for pair in pairs] == [
            ("a.png", "ax4.png"),
            ("b.png", "bx4.png"),
        ]

    def test_counts_differ(self, tmp_path):
        save(tmp_path / "hr/a.png", 40, 40)
        save(tmp_path / "hr/b.png", 40, 40)
        save(tmp_path / "lr/a.png", 10, 10)
        with pytest.raises(InputError, match=r"holds 2 images and .* 1: they must be pairs"):
            paired_photos(tmp_path / "hr", tmp_path / "lr", 4)

    def test_a_missing_partner_is_named(self, tmp_path):
        save(tmp_path / "hr/a.png", 40, 40)
        save(tmp_path / "lr/z.png", 10, 10)
        with pytest.raises(InputError, match=r"a\.png has no partner"):
            paired_photos(tmp_path / "hr", tmp_path / "lr", 4)

    def test_a_wrong_size_is_named_with_the_right_one(self, tmp_path):
        save(tmp_path / "hr/a.png", 40, 40)
        save(tmp_path / "lr/a.png", 10, 11)
        with pytest.raises(InputError, match=r"lr.a\.png is 10×11.*must be 10×10"):
            paired_photos(tmp_path / "hr", tmp_path / "lr", 4)
