"""Maps go where their photos go: cut, flipped and turned alike, checked before training."""

import numpy as np
import pytest
import torch
from PIL import Image

from esrgan_lightning.data import PhotoSet, SRDataModule, folder, packed, paired, write_shards
from esrgan_lightning.data.conditions import MapFolder
from esrgan_lightning.data.maps import quantised, read_maps, write_maps
from esrgan_lightning.data.shards import Shards
from esrgan_lightning.errors import InputError

CLASSES = ("sky", "water", "rest")


def marked(height, width):
    """Maps that differ at every pixel: a pixel's place can be read off its bytes."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    maps = torch.stack([rows, columns, 255 - rows - columns]).to(torch.uint8)
    assert (maps.sum(0, dtype=torch.int64) == 255).all()
    return maps


def photo(path, height, width, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def home(tmp_path):
    """Three photos in a tree, no side a multiple of 4, and their maps at scale 4."""
    for index, (height, width) in enumerate([(97, 131), (110, 83), (75, 90)]):
        photo(tmp_path / f"photos/sub/photo.{index}.png", height, width, index)
        write_maps(tmp_path / f"maps/sub/photo.{index}.safetensors", marked(height // 4, width // 4), CLASSES)
    return tmp_path


def module(home, **settings):
    conditions = MapFolder(home / "maps", CLASSES)
    settings = {"patch_size": 32, "batch_size": 4, "conditions": conditions} | settings
    return folder(home / "photos", cache_dir=home / "cache", **settings)


@pytest.mark.parametrize("prepare", ["device", "worker"])
def test_maps_are_the_crop_of_the_whole_turned_with_the_photo(home, prepare):
    """Breaks if the place is in HR pixels, rows and columns are swapped, or a turn goes the other way."""
    data = module(home, prepare=prepare).train_set
    places, turns = set(), set()
    for start in range(0, 96, 8):
        numbers = list(range(start, start + 8))
        data.complete = True
        batch, at = data.__getitems__(numbers), data.placer(numbers)
        for i in range(8):
            name = data.sets[0].pack.names[data.sets[0].chosen[at.photo[i]]]
            height, width = data.maps[0].sizes[at.photo[i]]
            top, left, turn = int(at.top[i]), int(at.left[i]), int(at.turn[i])
            path = home / "maps" / name.replace(".png", ".safetensors")
            whole = read_maps(path, CLASSES, height, width)
            crop = whole[:, top : top + 8, left : left + 8]
            expected = np.rot90(crop[..., ::-1] if turn >= 4 else crop, turn % 4, (1, 2))
            assert np.array_equal(batch["conditions"][i].numpy(), expected)
            assert torch.equal(data[numbers[i]]["conditions"], batch["conditions"][i])  # of (seed, n) alone
            places.add((top == 0, left == 0))
            turns.add(turn)
    assert turns == set(range(8))


def test_batches_carry_floats_that_add_up_to_1(home):
    data = module(home)
    raw = data.train_set.__getitems__([0, 1, 2])
    batch = data.on_after_batch_transfer(raw, 0)
    assert batch["conditions"].dtype == torch.float32
    torch.testing.assert_close(batch["conditions"].sum(1), torch.ones(3, 8, 8))
    whole = next(iter(data.val_dataloader()))
    assert whole["conditions"].shape[-2:] == whole["lr"].shape[-2:]


def test_a_held_out_photo_has_its_maps_beside_the_others_and_files_have_their_own_folder(home):
    photo(home / "val/photo.png", 50, 60, 9)
    write_maps(home / "val_maps/photo.safetensors", marked(12, 15), CLASSES)
    assert module(home).val_set[0]["conditions"].shape[0] == 3
    given = MapFolder(home / "maps", CLASSES, val_dir=home / "val_maps")
    data = module(home, val_dir=home / "val", conditions=given)
    assert torch.equal(data.val_set[0]["conditions"], marked(12, 15))
    with pytest.raises(InputError, match=r"maps/photo\.safetensors is missing"):
        module(home, val_dir=home / "val")


def test_several_sources_have_a_folder_each(home):
    photo(home / "more/sub/photo.0.png", 64, 64, 5)  # a name that the first has, too
    write_maps(home / "more_maps/sub/photo.0.safetensors", marked(16, 16), CLASSES)
    sets = [PhotoSet(packed([home / name], home / "cache")) for name in ("photos", "more")]
    given = MapFolder([home / "maps", home / "more_maps"], CLASSES)
    data = SRDataModule(sets, patch_size=32, conditions=given).train_set
    assert data.maps[1].sizes == [(16, 16)]
    assert {len(data.__getitems__([n])["conditions"]) for n in range(8)} == {1}
    with pytest.raises(InputError, match="names 1 folders for 2 sources"):
        SRDataModule(sets, patch_size=32, conditions=MapFolder(home / "maps", CLASSES))


def test_maps_belong_to_what_a_run_was_trained_on(home):
    """A resumed run with other maps is another run."""
    before = module(home).index_hash()
    assert module(home).index_hash() == before
    assert module(home, conditions=None).index_hash() != before
    other = quantised(torch.rand(3, 75 // 4, 90 // 4))
    write_maps(home / "maps/sub/photo.2.safetensors", other, CLASSES)
    write_maps(home / "maps/sub/photo.0.safetensors", quantised(torch.rand(3, 97 // 4, 131 // 4)), CLASSES)
    assert module(home).index_hash() != before


def test_a_fault_in_any_file_is_named_before_training(home):
    """Breaks if only the photos that happen to be drawn first are looked at."""
    write_maps(home / "maps/sub/photo.1.safetensors", torch.rand(3, 110, 83), CLASSES)  # of the HR's size
    with pytest.raises(InputError, match=r"sub/photo\.1\.safetensors.*\(3, 110, 83\).*\(3, 27, 20\)"):
        module(home)


def test_what_cannot_have_maps_says_so(home, tmp_path):
    from esrgan_lightning.data import pack

    with pytest.raises(InputError, match="no folder of maps"):
        MapFolder(home / "nowhere", CLASSES)
    with pytest.raises(InputError, match=r"conditions\.dir=DIR"):
        MapFolder(None, CLASSES)
    with pytest.raises(InputError, match="generator=sft"):
        MapFolder(home / "maps", None)
    pack([home / "photos"], home / "photos.safetensors")
    write_shards([home / "photos.safetensors"], home / "shards", min_side=32)
    store = Shards(home / "shards")
    with pytest.raises(InputError, match="shards hold no maps"):
        SRDataModule(store, patch_size=32, conditions=MapFolder(home / "maps", CLASSES))
    photo(home / "photos/sub/photo.1.jpg", 110, 83, 3)
    with pytest.raises(InputError, match=r"photo\.1\.safetensors would be the maps of two photos"):
        module(home)


def test_given_lr_photos_have_maps_named_after_the_hr(home):
    for index, (height, width) in enumerate([(97, 131), (110, 83), (75, 90)]):
        photo(home / f"lr/sub/photo.{index}.png", height // 4, width // 4, index)
    folders = (home / "photos", home / "lr")
    conditions = MapFolder(home / "maps", CLASSES)
    data = paired(*folders, *folders, cache_dir=home / "cache", patch_size=32, conditions=conditions)
    assert data.train_set.__getitems__([0])["conditions"].shape == (1, 3, 8, 8)
    assert torch.equal(data.val_set[0]["conditions"], marked(24, 32))


def test_maps_made_of_the_lr_follow_it_onto_the_device(home):
    """On the fly: any function of the LR in [0,1], for training and validation alike."""

    def brightness(lr):
        bright = lr.mean(1, keepdim=True)
        return torch.cat([bright, 1 - bright], 1)

    data = module(home, conditions=brightness)
    batch = data.on_after_batch_transfer(data.train_set.__getitems__([0, 1]), 0)
    assert torch.equal(batch["conditions"], brightness(batch["lr"]))
    whole = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert torch.equal(whole["conditions"], brightness(whole["lr"]))
