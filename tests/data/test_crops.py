"""Sample n is a pure function of (seed, n), and its LR is the crop of the whole photo's LR."""

import numpy as np
import pytest
import torch
from PIL import Image

from esrgan_lightning.data import PatchDataset, Photo, WholeDataset, place
from esrgan_lightning.data.crops import DecodedPhotos, augment, downscale_patch, photos_from
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize, read_rgb


@pytest.fixture
def folder(tmp_path):
    """Three noise photos of different sizes, none a multiple of 12."""
    generator = np.random.default_rng(0)
    for index, (height, width) in enumerate([(97, 131), (110, 83), (75, 90)]):
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photo{index}.png")
    return tmp_path


def dataset(folder, **settings):
    photos = photos_from(sorted(folder.glob("*.png")))
    return PatchDataset(photos, **({"patch_size": 48, "scale": 4} | settings))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_patch_equals_crop_of_whole_lr_at_every_position(scale):
    """Breaks if the margin is too small, not trimmed right, or the photo's border is treated as inner."""
    height, width, patch = 13 * scale, 11 * scale, 4
    photo = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.manual_seed(scale))
    whole = imresize(photo, 1 / scale)
    for top in range(13 - patch + 1):
        for left in range(11 - patch + 1):
            patch_lr = downscale_patch(photo, top, left, patch, scale)
            assert torch.equal(patch_lr, whole[:, top : top + patch, left : left + patch]), (top, left)


def test_random_patches_agree_with_the_whole_photo(folder):
    """Breaks if HR and LR are cut at different places, or turned differently."""
    data = dataset(folder)
    for n in range(60):
        at = place(0, n, data.sizes, 12)
        whole = read_rgb(data.photos[at.photo].hr)
        rows, columns = data.sizes[at.photo]
        whole = whole[:, : rows * 4, : columns * 4]
        lr = imresize(whole, 1 / 4)[:, at.top : at.top + 12, at.left : at.left + 12]
        hr = whole[:, at.top * 4 : at.top * 4 + 48, at.left * 4 : at.left * 4 + 48]
        sample = data[n]
        assert torch.equal(sample["lr"], augment(lr, at))
        assert torch.equal(sample["hr"], augment(hr, at))


def test_sample_depends_on_seed_and_number_alone(folder):
    """Breaks if a sample depends on what was drawn before it, or if two seeds or numbers draw alike."""
    first, second = dataset(folder), dataset(folder)
    for n in (31, 7, 0, 7, 1000, 10**12):
        assert torch.equal(first[n]["hr"], second[n]["hr"])
    sizes = [(40, 50), (60, 30), (25, 25)]
    draws = {place(0, n, sizes, 12) for n in range(500)}
    assert len(draws) > 480
    assert sum(place(0, n, sizes, 12) == place(1, n, sizes, 12) for n in range(100)) < 5


def test_each_photo_comes_once_a_round_and_positions_reach_every_corner():
    """Breaks if a photo is preferred, or if the last row or column of positions is never drawn."""
    sizes = [(14, 15), (16, 13), (12, 12)]
    draws = [place(3, n, sizes, 12) for n in range(900)]
    for start in range(0, 900, 3):
        assert sorted(at.photo for at in draws[start : start + 3]) == [0, 1, 2]
    seen = {(at.top, at.left) for at in draws if at.photo == 0}
    assert seen == {(top, left) for top in range(3) for left in range(4)}
    assert {(at.flip, at.turns) for at in draws} == {(f, t) for f in (False, True) for t in range(4)}


def test_flips_and_rotations_can_be_switched_off():
    draws = [place(3, n, [(20, 20)], 12, flips=False, rotations=False) for n in range(50)]
    assert {(at.flip, at.turns) for at in draws} == {(False, 0)}


def test_a_photo_smaller_than_the_patch_is_named(folder):
    with pytest.raises(InputError, match=r"photo2\.png is 75×90, smaller than data\.patch_size=80"):
        dataset(folder, patch_size=80)


@pytest.mark.parametrize("patch_size", [50, 0, -4])
def test_a_patch_that_is_no_multiple_of_the_scale_is_refused(folder, patch_size):
    with pytest.raises(
        InputError, match=f"data.patch_size={patch_size} is not a positive multiple of scale 4"
    ):
        dataset(folder, patch_size=patch_size)


def test_no_photos_is_an_error():
    with pytest.raises(InputError, match="no training photos"):
        PatchDataset([], patch_size=48, scale=4)


def test_given_lr_is_cropped_and_not_remade(tmp_path):
    """Breaks if a paired LR file is ignored: this one holds a ramp that no downscaling would give."""
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "hr.png")
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([ramp] * 3, -1)).save(tmp_path / "lr.png")
    photo = Photo(tmp_path / "hr.png", 64, 64, tmp_path / "lr.png")
    data = PatchDataset([photo], patch_size=32, scale=4)
    at = place(0, 5, data.sizes, 8)
    expected = torch.from_numpy(ramp)[at.top : at.top + 8, at.left : at.left + 8].expand(3, -1, -1)
    assert torch.equal(data[5]["lr"], augment(expected, at))
    assert torch.equal(WholeDataset([photo], scale=4)[0]["lr"][0], torch.from_numpy(ramp))


def test_whole_photos_are_cut_to_a_multiple_of_the_scale(folder):
    whole = WholeDataset(photos_from(sorted(folder.glob("*.png"))), scale=4)
    shapes = [
        (tuple(item["lr"].shape), tuple(item["hr"].shape)) for item in (whole[i] for i in range(len(whole)))
    ]
    assert shapes == [((3, h, w), (3, 4 * h, 4 * w)) for h, w in [(24, 32), (27, 20), (18, 22)]]


def test_decoded_photos_stay_within_their_budget(folder):
    """Breaks if the cache grows with the number of photos, or counts wrongly."""
    paths = sorted(folder.glob("*.png"))
    cache = DecodedPhotos(budget_bytes=3 * 100 * 140)
    for path in [*paths, *paths]:
        assert torch.equal(cache(path), read_rgb(path))
        held = sum(image.numel() for image in cache._images.values())
        assert held == cache.used <= cache.budget
    assert cache(paths[-1]) is cache(paths[-1])
