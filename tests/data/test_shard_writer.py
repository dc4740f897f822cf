"""Shards are whole or not there, and the same whoever writes them and however often it is interrupted."""

import hashlib
import json
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from esrgan_lightning.data import ShardStore, pack, shard_writer, write_shards
from esrgan_lightning.errors import InputError

pytest.importorskip("litdata", reason="shards are written by litdata: the extra [streaming]")


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index, size in enumerate(((300, 200), (120, 333), (20, 90))):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{index}.png")
    return pack([tmp_path / "photos"], tmp_path / "p.safetensors")


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def tiles(folder):
    store = ShardStore(folder)
    chunks = range(len(store.index.chunks))
    return [store.chunk(n).tile(i) for n in chunks for i in range(store.index.chunks[n].tiles)]


def test_tiles_cover_each_photo_and_hold_its_pixels(photos, tmp_path):
    """Breaks if a strip of a photo is in no tile, or a tile is cut out of another place than it says."""
    write_shards([photos], tmp_path / "s", tile=100, overlap=30, chunk_mb=0.1)
    covered = [np.zeros(photos.photo(i).shape[:2], bool) for i in range(3)]
    for pixels, name, top, left, height, width in tiles(tmp_path / "s"):
        index = photos.names.index(name)
        high, wide, _ = pixels.shape
        assert (height, width) == covered[index].shape
        assert max(high, wide) <= 100
        assert np.array_equal(pixels, photos.photo(index)[top : top + high, left : left + wide])
        covered[index][top : top + high, left : left + wide] = True
    assert all(each.all() for each in covered)


@pytest.mark.parametrize("side", [1, 99, 100, 101, 170, 171, 240, 2040])
def test_spans_overlap_and_end_with_the_side(side):
    spans = shard_writer._spans(side, 100, 30)
    assert spans[0][0] == 0
    assert spans[-1][0] + spans[-1][1] == side
    assert all(length <= 100 for _, length in spans)
    for (start, length), (after, _) in pairwise(spans):
        assert start + length - after >= 30
        assert length >= 65  # half of tile and overlap: the patches' check relies on it


def test_each_chunk_is_a_mixture_of_photos(photos, tmp_path):
    """Breaks if tiles are written in the order of the photos: a batch would have few of them."""
    write_shards([photos], tmp_path / "s", tile=60, overlap=20, chunk_mb=0.1)
    store = ShardStore(tmp_path / "s")
    assert len(store.index.chunks) > 3
    for number, info in enumerate(store.index.chunks[:-1]):
        assert len({store.chunk(number).tile(i).name for i in range(info.tiles)}) > 1
        assert 0.05e6 < info.bytes < 0.15e6


def test_the_bytes_depend_on_photos_and_settings_alone(photos, tmp_path):
    for name, threads in (("a", 1), ("b", 4)):
        write_shards([photos], tmp_path / name, tile=100, overlap=30, chunk_mb=0.1, threads=threads)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    write_shards([photos], tmp_path / "c", tile=100, overlap=30, chunk_mb=0.1, seed=1)
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_an_interrupted_call_goes_on(photos, tmp_path, monkeypatch):
    """Breaks if an index is there before its chunks are, or what is done is done again."""
    how = {"tile": 100, "overlap": 30, "chunk_mb": 0.1, "threads": 1}
    write_shards([photos], tmp_path / "whole", **how)
    put, written = shard_writer._put, []

    def dies_at_the_third(path, parts):
        if len(written) == 3:
            path.with_name(f"{path.name}.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        put(path, parts)
        written.append(path.name)

    monkeypatch.setattr(shard_writer, "_put", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write_shards([photos], tmp_path / "s", **how)
    assert not (tmp_path / "s/index.json").exists()
    with pytest.raises(InputError, match="finished"):
        ShardStore(tmp_path / "s")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.bin")}
    assert before
    monkeypatch.setattr(shard_writer, "_put", put)
    write_shards([photos], tmp_path / "s", **how)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    assert before.items() <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("*.bin")}.items()


def test_a_folder_of_something_else_is_left_alone(photos, tmp_path):
    write_shards([photos], tmp_path / "s")
    with pytest.raises(InputError, match="--overwrite"):
        write_shards([photos], tmp_path / "s")
    write_shards([photos], tmp_path / "s", tile=100, overlap=30, overwrite=True)
    assert ShardStore(tmp_path / "s").index.tile == 100
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="not empty"):
            write_shards([photos], tmp_path / "mine", overwrite=overwrite)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_small_photos_can_be_left_out(photos, tmp_path):
    write_shards([photos], tmp_path / "s", min_side=64)
    assert {tile.name for tile in tiles(tmp_path / "s")} == {"0.png", "1.png"}
    assert (
        json.loads((tmp_path / "s/index.json").read_bytes())["config"]["esrgan_lightning"]["smallest"] == 120
    )
    with pytest.raises(InputError, match="--min-side=999"):
        write_shards([photos], tmp_path / "t", min_side=999)


@pytest.mark.parametrize(
    "settings", [{"overlap": 768}, {"overlap": -1}, {"chunk_mb": 0}, {"tile": 40000}, {"seed": -1}]
)
def test_senseless_settings_are_refused_before_anything_is_written(photos, tmp_path, settings):
    with pytest.raises(InputError, match="--"):
        write_shards([photos], tmp_path / "s", **settings)
    assert not (tmp_path / "s").exists()


def test_a_disk_without_room_is_told(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(InputError, match="not free"):
        write_shards([photos], tmp_path / "s")


def test_without_litdata_the_command_is_told(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata.streaming.writer", None)
    with pytest.raises(InputError, match=r'pip install "esrgan-lightning\[streaming\]"'):
        write_shards([photos], tmp_path / "s")
