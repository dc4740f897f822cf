"""What is cut is what lies in the photo, and its LR is the crop of the whole photo's LR."""

import numpy as np
import pytest
import torch
from noise import fill
from PIL import Image

from esrgan_lightning.data import PatchDataset, Photo, PhotoSet, WholeDataset, folder_photos, packed
from esrgan_lightning.data.crops import turned
from esrgan_lightning.data.degradations import Bicubic
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize, modcrop


@pytest.fixture
def folder(tmp_path):
    """Three noise photos of different sizes, none a multiple of 12."""
    return fill(tmp_path / "photos", [(97, 131), (110, 83), (75, 90)])


def dataset(*folders, **settings):
    sets = [PhotoSet(packed([each])) for each in folders]
    return PatchDataset(sets, **({"patch_size": 48, "scale": 4, "degradation": Bicubic()} | settings))


def check_against_whole_photos(data, count, *, batch=64):
    """Compares samples with crops of whole photos and of their LR; returns how many values were compared."""
    scale, patch, borders, compared = data.scale, data.patch_size // data.scale, set(), 0
    photos = [modcrop(photo.read_hr(), scale) for each in data.sets for photo in each.photos()]
    small = [imresize(photo, 1 / scale) for photo in photos]
    first = np.concatenate([[0], np.cumsum([len(each) for each in data.sets])])
    for start in range(0, count, batch):
        numbers = list(range(start, min(start + batch, count)))
        data.complete = True
        got, at = data.__getitems__(numbers), data.placer(numbers)
        index, tops, lefts = first[at.source] + at.photo, at.top.tolist(), at.left.tolist()
        for i, (photo, top, left) in enumerate(zip(index.tolist(), tops, lefts, strict=True)):
            rows, columns = small[photo].shape[-2:]
            borders |= {("top", top == 0), ("left", left == 0)}
            borders |= {("bottom", top + patch == rows), ("right", left + patch == columns)}
            lr = small[photo][:, top : top + patch, left : left + patch]
            hr = photos[photo][:, scale * top : scale * (top + patch), scale * left : scale * (left + patch)]
            turn = at.turn[[i]].tolist()
            assert torch.equal(got["lr"][i], turned(lr[None], turn)[0]), (numbers[i], top, left)
            assert torch.equal(got["hr"][i], turned(hr[None], turn)[0]), (numbers[i], top, left)
            compared += lr.numel()
    assert len(borders) == 8, "every border of a photo must be among the samples"
    return compared


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_equals_the_crop_of_the_whole_lr_at_every_position(tmp_path, scale):
    """Breaks if the margin is too small or not trimmed right, or the photo's border is treated as inner.

    The photo is no multiple of the scale: the border is that of the photo cut to one.
    """
    pixels = np.random.default_rng(scale).integers(
        0, 256, (9 * scale + 1, 8 * scale + scale - 1, 3), dtype=np.uint8
    )
    Image.fromarray(pixels).save(tmp_path / "one.png")
    data = dataset(tmp_path, patch_size=4 * scale, scale=scale)
    seen = {
        (top, left)
        for at in [data.placer(range(600))]
        for top, left in zip(at.top.tolist(), at.left.tolist(), strict=True)
    }
    assert len(seen) == 6 * 5
    check_against_whole_photos(data, 600)


def test_a_photo_as_small_as_the_patch_has_four_borders_at_once(tmp_path):
    """Breaks if rows or columns beyond two borders of one crop are filled wrongly."""
    pixels = np.random.default_rng(0).integers(0, 256, (19, 17, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    data = dataset(tmp_path, patch_size=16, flips=False, rotations=False)
    whole = modcrop(torch.from_numpy(pixels).permute(2, 0, 1), 4)
    assert torch.equal(data[0]["hr"], whole[:, :16, :16])
    assert torch.equal(data[0]["lr"], imresize(whole, 1 / 4))


def test_random_patches_agree_with_the_whole_photos(folder):
    """Breaks if HR and LR are cut at different places, or turned differently."""
    check_against_whole_photos(dataset(folder), 300)


def test_turns_are_those_of_torch():
    """Breaks if mirroring comes after the turn, or the turn goes the other way."""
    image = torch.arange(9).reshape(1, 1, 3, 3)
    images = image.expand(8, 1, 3, 3)
    for turn, result in enumerate(turned(images, list(range(8)))):
        mirrored = image[0].flip(-1) if turn >= 4 else image[0]
        assert torch.equal(result, torch.rot90(mirrored, turn % 4, (-2, -1)))


def test_several_folders_mix_by_weight(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(other / "black.png")
    data = dataset(folder, other, weights=[1, 3])
    black = sum(not data[n]["hr"].any() for n in range(400))
    assert black == pytest.approx(300, abs=25)
    with pytest.raises(InputError, match=r"data.weights=\[1\] must be 2 numbers above 0"):
        dataset(folder, other, weights=[1])


class TestRefusals:
    def test_a_photo_smaller_than_the_patch_is_named(self, folder):
        with pytest.raises(InputError, match=r"002\.png .*is 75×90, smaller than data\.patch_size=80"):
            dataset(folder, patch_size=80)

    def test_and_can_be_left_out(self, folder):
        assert len(dataset(folder, patch_size=80, skip_small=True).sets[0]) == 2
        with pytest.raises(InputError, match="no training photos"):
            dataset(folder, patch_size=200, skip_small=True)

    @pytest.mark.parametrize("patch_size", [50, 0, -4])
    def test_a_patch_that_is_no_multiple_of_the_scale(self, folder, patch_size):
        with pytest.raises(
            InputError, match=f"data.patch_size={patch_size} is not a positive multiple of scale 4"
        ):
            dataset(folder, patch_size=patch_size)

    def test_no_photos(self):
        with pytest.raises(InputError, match="no training photos"):
            dataset()

    def test_lr_for_some_only(self, folder):
        pack = packed([folder])
        with pytest.raises(InputError, match="give LR for all or for none"):
            PatchDataset(
                [PhotoSet(pack), PhotoSet(pack, lr_pack=pack)],
                patch_size=48,
                scale=4,
                degradation=Bicubic(),
            )


def test_given_lr_is_cropped_and_not_remade(tmp_path):
    """Breaks if a given LR file is ignored: this one holds a ramp that no downscaling would give."""
    for name in ("hr", "lr"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "hr/a.png")
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([ramp] * 3, -1)).save(tmp_path / "lr/a.png")
    pair = PhotoSet(packed([tmp_path / "hr"]), lr_pack=packed([tmp_path / "lr"]))
    data = PatchDataset([pair], patch_size=32, scale=4, degradation=Bicubic())
    at = data.placer([5])
    (top,), (left,) = at.top.tolist(), at.left.tolist()
    expected = torch.from_numpy(ramp)[top : top + 8, left : left + 8].expand(1, 3, -1, -1)
    assert torch.equal(data[5]["lr"], turned(expected, at.turn.tolist())[0])
    photo = Photo(tmp_path / "hr/a.png", 64, 64, tmp_path / "lr/a.png")
    for whole in (photo, pair.photos()[0]):
        pair_of = WholeDataset([whole], scale=4, degradation=Bicubic())[0]
        assert torch.equal(pair_of["lr"][0], torch.from_numpy(ramp))


def test_whole_photos_are_cut_to_a_multiple_of_the_scale(folder):
    """Files and packed photos alike."""
    for photos in (folder_photos(folder), PhotoSet(packed([folder])).photos()):
        whole = WholeDataset(photos, scale=4, degradation=Bicubic())
        items = [whole[i] for i in range(len(whole))]
        shapes = [(tuple(item["lr"].shape), tuple(item["hr"].shape)) for item in items]
        assert shapes == [((3, h, w), (3, 4 * h, 4 * w)) for h, w in [(24, 32), (27, 20), (18, 22)]]
        assert [item["name"] for item in items] == ["000.png", "001.png", "002.png"]
