"""Shards: tiles of photos as litdata writes them, and an index that is checked before anything is read."""

import json

import numpy as np
import pytest
from noise import fill

from esrgan_lightning.data import Pack, Shards, pack, write_shards
from esrgan_lightning.errors import InputError

litdata = pytest.importorskip("litdata", reason="shards are written by litdata: the extra [streaming]")


@pytest.fixture
def photos(tmp_path):
    return pack([fill(tmp_path / "photos", [(301, 203), (97, 64), (64, 65)])], tmp_path / "pack.safetensors")


def test_tiles_cover_the_photos_and_overlap(photos, tmp_path):
    """Litdata's own dataset is the reader."""
    write_shards([photos], tmp_path / "s", tile=112, overlap=64, chunk_mb=0.1)
    whole, seen, places = Pack(photos.path), {}, []
    for item in litdata.StreamingDataset(str(tmp_path / "s"), shuffle=False):
        name = bytes(item["name"]).decode()
        photo = whole.photo(whole.names.index(name))
        top, left, height, width = item["place"].tolist()
        high, wide, _ = item["pixels"].shape
        assert max(high, wide) <= 112
        assert np.array_equal(item["pixels"], photo[top : top + high, left : left + wide])
        assert (height, width) == photo.shape[:2]
        seen.setdefault(name, np.zeros(photo.shape[:2], bool))[top : top + high, left : left + wide] = True
        places.append((name, top, left))
    assert all(each.all() for each in seen.values())
    assert len(seen) == 3
    assert places != sorted(places)
    tops = sorted({top for name, top, _ in places if name == "000.png"})
    assert max(np.diff(tops)) <= 112 - 64
    shards = Shards(tmp_path / "s")
    assert (shards.tiles, shards.tile, shards.overlap, shards.smallest) == (len(places), 112, 64, 64)
    assert len(list((tmp_path / "s").glob("chunk-*.bin"))) > 1


def test_the_same_photos_and_settings_give_the_same_bytes(photos, tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, overlap in zip(folders, (64, 64, 60), strict=True):
        write_shards([photos], folder, tile=112, overlap=overlap, chunk_mb=0.1)
    first, second, other = (
        {path.name: path.read_bytes() for path in sorted(folder.iterdir())} for folder in folders
    )
    assert first == second
    assert first != other
    assert Shards(folders[0]).digest == Shards(folders[1]).digest


def test_a_folder_is_whole_or_not_there(photos, tmp_path, monkeypatch):
    write_shards([photos], tmp_path / "s", min_side=90)
    before = Shards(tmp_path / "s").tiles
    with pytest.raises(InputError, match="--overwrite"):
        write_shards([photos], tmp_path / "s")
    monkeypatch.setattr(json, "dumps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_shards([photos], tmp_path / "s", overwrite=True)
    monkeypatch.undo()
    assert Shards(tmp_path / "s").tiles == before
    write_shards([photos], tmp_path / "s", overwrite=True)
    assert Shards(tmp_path / "s").tiles == before + 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack.safetensors", "photos", "s"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"overlap": 480}, "--overlap=480"),
        ({"tile": 5000}, "--tile=5000"),
        ({"chunk_mb": 0}, "--chunk-mb=0"),
        ({"min_side": 999}, "--min-side=999"),
    ],
)
def test_senseless_settings_are_named(photos, tmp_path, settings, named):
    with pytest.raises(InputError, match=named):
        write_shards([photos], tmp_path / "s", **settings)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "harm",
    [
        lambda index: index["config"].update(data_format=["pickle"]),
        lambda index: index["chunks"][0].update(filename="../../x.bin"),
        lambda index: index["config"]["esrgan_lightning"].update(format="shards 9"),
        lambda index: index["config"].pop("esrgan_lightning"),
        lambda index: index.pop("chunks"),
        lambda index: index["config"].update(compression="zstd"),
        lambda index: index.update(updated_at="../../elsewhere"),
    ],
)
def test_an_index_of_anybody_is_refused(photos, tmp_path, harm):
    """One of litdata's types is pickle, and files and folders get the names that stand there."""
    path = write_shards([photos], tmp_path / "s")
    index = json.loads(path.read_text())
    harm(index)
    path.write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"s/index\.json is no index"):
        Shards(tmp_path / "s")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing/index\.json is missing"):
        Shards(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"ftp://a/b cannot be read"):
        Shards("ftp://a/b", cache_dir=tmp_path)
