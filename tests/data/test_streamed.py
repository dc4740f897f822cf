"""Patches out of shards are those of the photos; litdata's order is gone through, and goes on, as it says."""

import logging
from types import SimpleNamespace

import pytest
import torch
from noise import fill

from esrgan_lightning import data as builders
from esrgan_lightning.data import Shards, pack, write_shards
from esrgan_lightning.data.degradations import Bicubic
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize

pytest.importorskip("litdata", reason="shards are written by litdata: the extra [streaming]")
from esrgan_lightning.data.streamed import StreamedPatches

SIZES = ((301, 203), (150, 333), (97, 64), (64, 65), (202, 202))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = fill(tmp_path_factory.mktemp("photos"), SIZES)
    return pack([folder], folder / "pack.safetensors")


@pytest.fixture(scope="module")
def shards(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "shards"
    write_shards([photos], folder, tile=112, overlap=64, chunk_mb=0.1)
    return folder


def patches(shards, patch_size=32, scale=4, **settings):
    return StreamedPatches(
        Shards(shards), patch_size=patch_size, scale=scale, degradation=Bicubic(), **settings
    )


def trainer(batches, start=0):
    return SimpleNamespace(
        max_steps=batches, global_step=start, global_rank=0, world_size=1, lightning_module=None
    )


def loader(shards, batches, start=0, workers=0, **settings):
    return patches(shards, **settings).loader(trainer(batches, start), batch_size=4, num_workers=workers)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_patch_is_the_crop_of_the_photo_and_of_its_lr(photos, shards, scale):
    """Breaks if a tile's place is off by a pixel, or its own edge is taken for the border of the photo.

    The reference is the LR of each whole photo; all four borders must have been met.
    """
    batches = loader(shards, 120, scale=scale, patch_size=24, flips=False, rotations=False, complete=True)
    whole, met = {}, set()
    for index, name in enumerate(photos.names):
        height, width = photos.sizes[index] // scale * scale
        hr = torch.from_numpy(photos.photo(index)[:height, :width].copy()).permute(2, 0, 1)
        whole[name] = hr, imresize(hr[None], 1 / scale)[0]
    for batch in batches:
        for name, patch, lr in zip(batch["name"], batch["hr"], batch["lr"], strict=True):
            hr, small = whole[name]
            corners = (hr[:, ::scale, ::scale] == patch[:, :1, :1]).all(0).nonzero().tolist()
            found = [
                at
                for at in corners
                if torch.equal(hr[:, scale * at[0] :, scale * at[1] :][:, :24, :24], patch)
            ]
            ((top, left),), side = found, 24 // scale
            assert torch.equal(lr, small[:, top : top + side, left : left + side])
            ends = (scale * top + 24 == hr.shape[1], scale * left + 24 == hr.shape[2])
            met |= {edge for edge, at in zip("tlbr", (top == 0, left == 0, *ends), strict=True) if at}
    assert met == set("tlbr")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_takes_each_tile_at_most_once_and_the_next_is_another(shards, workers):
    batches = loader(shards, 10**6, workers=workers)
    tiles, length = Shards(shards).tiles, len(batches.loader)
    numbers = [
        number for _, batch in zip(range(2 * length), batches, strict=False) for number in batch["number"]
    ]
    first, second = numbers[: 4 * length], numbers[4 * length :]
    assert len(set(numbers)) == len(numbers)
    assert all(number < tiles for number in first)
    assert all(tiles <= number < 2 * tiles for number in second)
    assert [number - tiles for number in second] != first
    assert 4 * length > tiles - 4 * max(1, workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_loader_goes_on_where_it_was(shards, tmp_path, workers):
    """At each batch of an epoch, its seams included; the shards have moved."""
    length = len(loader(shards, 1).loader)
    (tmp_path / "elsewhere").symlink_to(shards)
    run = 2 * length + 2
    whole = [batch["number"] for batch in loader(shards, run, workers=workers)]
    assert len(whole) == run
    for stop in (1, 2, length - 1, length, length + 1) if not workers else (3, length):
        batches, position = loader(shards, run, workers=workers), None
        for done, _ in enumerate(batches, 1):
            if done == stop:
                position = batches.state_dict()
                break
        rest = loader(tmp_path / "elsewhere", run, start=stop, workers=workers)
        rest.load_state_dict(position)
        assert [batch["number"] for batch in rest] == whole[stop:]
    position["index"] = "other"
    with pytest.raises(InputError, match="not the shards"):
        rest.load_state_dict(position)


def test_the_seed_decides(shards):
    first, again, other = (next(iter(loader(shards, 1, seed=seed)))["hr"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 30}, "data.patch_size=30"),
        ({"patch_size": 68}, "smallest tile has 64 pixels"),
        ({"patch_size": 64, "scale": 8}, "a patch with its surroundings 112"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_senseless_settings_are_refused(shards, settings, message):
    with pytest.raises(InputError, match=message):
        patches(shards, **settings)


def test_too_few_tiles_for_a_batch_are_told(shards):
    with pytest.raises(InputError, match=r"too few for data\.batch_size=400"):
        patches(shards).loader(trainer(1), batch_size=400, num_workers=0)


def test_tiles_that_overlap_too_little_are_told(photos, tmp_path, caplog):
    write_shards([photos], tmp_path / "s", tile=112, overlap=32)
    with caplog.at_level(logging.WARNING):
        patches(tmp_path / "s")
    assert "never come" in caplog.text


def test_the_module_trains_on_shards_and_validates_on_files(photos, shards):
    files = photos.path.parent
    module = builders.streaming(shards, files, batch_size=4, patch_size=32)
    assert len(module.val_set) == len(SIZES)
    assert module.index_hash() == Shards(shards).digest
    for key, value in (("weights", [1.0]), ("skip_small", True)):
        with pytest.raises(InputError, match=f"data.{key}"):
            builders.streaming(shards, files, patch_size=32, **{key: value})
