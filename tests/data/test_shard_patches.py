"""Patches out of shards are those of the photos, and which they are depends on their numbers alone."""

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from esrgan_lightning import data as builders
from esrgan_lightning.data import Pack, PatchDataset, PhotoSet, ShardStore, UpdateSampler, pack, write_shards
from esrgan_lightning.data.batches import finish
from esrgan_lightning.data.degradations import Bicubic
from esrgan_lightning.data.loaders import TimedLoader
from esrgan_lightning.data.placement import draws
from esrgan_lightning.data.shard_patches import StreamingPatches, StreamPlan
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize

pytest.importorskip("litdata", reason="shards are written by litdata: the extra [streaming]")

SIZES = ((301, 203), (150, 333), (97, 64), (64, 65), (202, 202))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return pack([folder], folder / "pack.safetensors")


@pytest.fixture(scope="module")
def shards(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "shards"
    write_shards([photos], folder, tile=112, overlap=64, chunk_mb=0.1)
    return folder


def patches(shards, streams=4, patch_size=32, scale=4, **settings):
    return StreamingPatches(
        ShardStore(shards),
        patch_size=patch_size,
        scale=scale,
        degradation=Bicubic(),
        streams=streams,
        **settings,
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_patch_is_the_crop_of_the_photo_and_of_its_lr(photos, shards, scale):
    """Breaks if a tile's place is off by a pixel, or its own edge is taken for the border of the photo.

    The reference is the LR of each whole photo; all four borders must have been met.
    """
    found = patches(shards, scale=scale, patch_size=24, flips=False, rotations=False)
    whole = {}
    for index, name in enumerate(photos.names):
        height, width = photos.sizes[index] // scale * scale
        hr = torch.from_numpy(photos.photo(index)[:height, :width].copy()).permute(2, 0, 1)
        whole[name] = hr, imresize(hr[None], 1 / scale)[0]
    met = set()
    numbers = list(range(1600))
    batch = finish(found.raw(numbers), found.degradation, scale)
    chunks, tiles = found.plan(np.array(numbers))
    for i, draw in enumerate(draws(0, np.array(numbers))):
        tile = found.store.chunk(int(chunks[i])).tile(int(tiles[i]))
        top, left = found.position(tile, draw)
        hr, lr = whole[tile.name]
        small = lr[:, top : top + 24 // scale, left : left + 24 // scale]
        assert torch.equal(batch["lr"][i], small)
        top, left = top * scale, left * scale
        assert torch.equal(batch["hr"][i], hr[:, top : top + 24, left : left + 24])
        assert batch["name"][i] == tile.name
        ends = (top + 24 == hr.shape[1], left + 24 == hr.shape[2])
        met |= {side for side, at in zip("tlbr", (top == 0, left == 0, *ends), strict=True) if at}
    assert met == set("tlbr")


def test_every_place_of_a_photo_is_cut_out(tmp_path):
    """Breaks if tiles overlap too little for the surroundings, or a tile's last place is left out."""
    Image.fromarray(np.zeros((256, 64, 3), np.uint8)).save(tmp_path / "a.png")
    source = pack([tmp_path / "a.png"], tmp_path / "a.safetensors")
    write_shards([source], tmp_path / "s", tile=96, overlap=48)
    found = patches(tmp_path / "s")
    numbers = np.arange(6000)
    tops = {
        found.position(found.store.chunk(int(c)).tile(int(t)), draw)[0]
        for c, t, draw in zip(*found.plan(numbers), draws(0, numbers), strict=True)
    }
    assert tops == set(range(64 - 8 + 1))


def test_the_patches_are_as_those_of_the_pack_beneath(photos, shards):
    """Breaks if a batch of shards differs in kind from a batch of a pack."""
    first = patches(shards).raw([0, 1, 2])
    other = PatchDataset([PhotoSet(photos)], patch_size=32, scale=4, degradation=Bicubic()).raw([0, 1, 2])
    assert {key: type(value) for key, value in first.items()} == {k: type(v) for k, v in other.items()}
    assert first["hr"].shape == other["hr"].shape
    assert first["hr"].dtype == other["hr"].dtype
    assert first["turns"] == other["turns"]  # of the same seed


@pytest.mark.parametrize(("tiles", "streams"), [((5, 3, 9, 1), 4), ((2, 2), 16), ((1,), 3), ((7,) * 30, 8)])
def test_a_round_takes_each_tile_equally_often(tiles, streams):
    """Breaks if the line of a round is cut so that visits are lost or made twice at the seams."""
    plan = StreamPlan(3, tiles, streams, 4)
    assert plan.round == 4 * sum(tiles)
    for number in (0, 1, 5):
        seen = zip(*plan(np.arange(number * plan.round, (number + 1) * plan.round)), strict=True)
        count = {}
        for key in seen:
            count[tuple(map(int, key))] = count.get(tuple(map(int, key)), 0) + 1
        assert count == {(chunk, tile): 4 for chunk, n in enumerate(tiles) for tile in range(n)}
    across = np.arange(plan.round - 3, plan.round + 3)
    alone = [tuple(int(each[0]) for each in plan(across[i : i + 1])) for i in range(6)]
    assert list(zip(*(each.tolist() for each in plan(across)), strict=True)) == alone


def test_a_process_needs_its_share_of_the_chunks():
    """Breaks if each machine has to download everything: 2 of them would, and 4."""
    plan = StreamPlan(0, [50] * 160, 16, 8)
    for world in (2, 4):
        needed = []
        for rank in range(world):
            sampler = UpdateSampler(batch_size=16, batches=plan.round // 16, rank=rank, world_size=world)
            needed.append(set(plan(np.array([n for batch in sampler for n in batch]))[0].tolist()))
        assert max(map(len, needed)) <= 160 // world + 2  # and the chunks at the seams
        assert set.union(*needed) == set(range(160))


def test_a_batch_mixes_as_many_chunks_as_it_has_samples():
    """Breaks if a batch comes out of a few neighbouring chunks, which have few photos."""
    plan = StreamPlan(0, [50] * 160, 16, 8)
    assert all(len(set(plan(np.arange(16 * u, 16 * u + 16))[0].tolist())) >= 15 for u in range(200))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_samples_are_the_same_for_any_workers_and_ranks(shards):
    """Breaks if a worker or a rank has a state of its own that samples depend on."""
    dataset = patches(shards, streams=8)

    def samples(workers, ranks=1, rank=0, start=0):
        sampler = UpdateSampler(batch_size=8, batches=40, start=start, rank=rank, world_size=ranks)
        loader = TimedLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=lambda batch: batch,
        )
        return {
            number: (raw["hr"][i].numpy().tobytes(), raw["turns"][i])
            for raw in loader
            for i, number in enumerate(raw["number"])
        }

    alone = samples(0)
    assert list(alone) == list(range(320))
    assert len({value[0] for value in alone.values()}) > 300
    assert samples(2) == alone
    assert samples(0, 2, 0) | samples(0, 2, 1) == alone
    assert samples(2, start=30) == {number: value for number, value in alone.items() if number >= 240}


def test_the_seed_decides(shards):
    first, again, other = (patches(shards, seed=seed).raw(range(8))["hr"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_dataset_crosses_to_a_spawned_worker(shards):
    dataset = patches(shards)
    before = dataset.raw([5])["hr"]
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).raw([5])["hr"], before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 30}, "data.patch_size=30"),
        ({"patch_size": 68}, "smallest tile has 64 pixels"),
        ({"patch_size": 64, "scale": 8}, "a patch with its surroundings 112"),
        ({"patches_per_tile": 0}, "data.patches_per_tile=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_senseless_settings_are_refused(shards, settings, message):
    with pytest.raises(InputError, match=message):
        patches(shards, **settings)


def test_tiles_that_overlap_too_little_are_told(photos, tmp_path, caplog):
    write_shards([photos], tmp_path / "s", tile=112, overlap=32)
    with caplog.at_level(logging.WARNING):
        patches(tmp_path / "s")
    assert "never come" in caplog.text


def test_the_module_trains_on_shards_and_validates_on_files(photos, shards):
    files = photos.path.parent
    module = builders.streaming(shards, files, batch_size=4, patch_size=32)
    assert len(module.val_set) == len(SIZES)
    assert module.index_hash() == ShardStore(shards).index.digest()
    assert module.train_set.__getitems__([0, 1])["hr"].shape == (2, 48, 48, 3)
    worker = builders.streaming(shards, files, batch_size=4, patch_size=32, prepare="worker")
    assert worker.train_set.__getitems__([0, 1])["lr"].shape == (2, 3, 8, 8)
    assert torch.equal(worker.train_set[1]["lr"], worker.train_set.__getitems__([0, 1])["lr"][1])
    for key, value in (("weights", [1.0]), ("skip_small", True)):
        with pytest.raises(InputError, match=f"data.{key}"):
            builders.streaming(shards, files, patch_size=32, **{key: value})


def test_litdatas_own_dataset_reads_the_shards(photos, shards, monkeypatch):
    """The independent reader: breaks if a chunk or the index leaves litdata's format."""
    from litdata import StreamingDataset

    # It would ask the package index for a newer version of itself.
    monkeypatch.setattr("litdata.streaming.dataset._check_version_and_prompt_upgrade", lambda version: None)
    found = StreamingDataset(str(shards), shuffle=False)
    assert len(found) == sum(each.tiles for each in ShardStore(shards).index.chunks)
    whole = Pack(photos.path)
    for item in found:
        photo = whole.photo(whole.names.index(bytes(item["name"]).decode()))
        top, left, height, width = item["place"].tolist()
        high, wide, _ = item["pixels"].shape
        assert np.array_equal(item["pixels"], photo[top : top + high, left : left + wide])
        assert (height, width) == photo.shape[:2]
