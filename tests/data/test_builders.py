"""What ``data=…`` makes of photos on disk."""

from dataclasses import asdict

import numpy as np
import pytest
from noise import fill
from PIL import Image
from tiny_source import source, toml

from esrgan_lightning import data as builders
from esrgan_lightning.data import folder_photos, pack
from esrgan_lightning.data.catalog import sources as table_module
from esrgan_lightning.errors import InputError


def names(photos):
    return [photo.name for photo in photos]


def test_packs_are_trained_on_and_photos_held_out_of_all_of_them(tmp_path):
    """Breaks if a held-out photo is trained on, or one pack gives all of them."""
    files = [
        pack([fill(tmp_path / name, count)], tmp_path / f"{name}.safetensors").path
        for name, count in (("x", 30), ("y", 30))
    ]
    module = builders.packs(files, patch_size=32, val_count=4, weights=[1, 2])
    assert [len(each) for each in module.train_set.sets] == [28, 28]
    held_out = {(photo.pack.path, photo.index) for photo in module.val_set.photos}
    trained = {(each.pack.path, int(index)) for each in module.train_set.sets for index in each.chosen}
    assert (len(held_out), len(trained), held_out & trained) == (4, 56, set())
    one = builders.packs(files[0], fill(tmp_path / "val", 2), patch_size=32)
    assert (len(one.train_set.sets[0]), names(one.val_set.photos)) == (30, ["000.png", "001.png"])


def test_pairs_belong_together_whatever_their_order(tmp_path):
    """Breaks if HR and LR photos are matched by their place in the folders."""
    (tmp_path / "hr").mkdir()
    (tmp_path / "lr").mkdir()
    for value, name in enumerate(["a", "aa", "b"]):
        Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(tmp_path / f"hr/{name}.png")
        Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(tmp_path / f"lr/{name}x4.png")
    module = builders.paired(tmp_path / "hr", tmp_path / "lr", patch_size=32, val_count=1)
    for n in range(20):
        sample = module.train_set[n]
        assert (sample["hr"] == sample["hr"][0, 0, 0]).all()
        assert (sample["lr"] == sample["hr"][0, 0, 0]).all()
    held_out = module.val_set[0]
    assert held_out["lr"][0, 0, 0] == held_out["hr"][0, 0, 0]


def test_pairs_with_a_damaged_image_are_left_out(tmp_path):
    """Breaks if a pair stays whose LR or HR the pack lacks: a header may be broken, or pixels."""
    for value in range(8):
        for kind, side in (("hr", 64), ("lr", 16)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(tmp_path / f"{kind}/{value}.png")
    (tmp_path / "hr/1.png").write_bytes(b"no image")
    for name in ("hr/2.png", "lr/3.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:60])
    settings = {"patch_size": 32, "val_count": 0, "cache_dir": tmp_path / "cache"}
    with pytest.raises(InputError, match=r"1\.png .*data\.skip_bad=true"):
        builders.paired(tmp_path / "hr", tmp_path / "lr", **settings)
    module = builders.paired(tmp_path / "hr", tmp_path / "lr", skip_bad=True, **settings)
    samples = [module.train_set[n] for n in range(10)]
    assert all((sample["lr"] == sample["hr"][0, 0, 0]).all() for sample in samples)
    assert {int(sample["hr"][0, 0, 0]) for sample in samples} == {0, 4, 5, 6, 7}


def test_a_folder_takes_pairs_for_validation(tmp_path):
    folder, val = fill(tmp_path / "x", 3), fill(tmp_path / "val", 2)
    lr = fill(tmp_path / "lr", 2, (16, 20))
    settings = {"patch_size": 32, "cache_dir": tmp_path / "cache"}
    module = builders.folder(folder, val, val_lr=lr, **settings)
    assert (module.val_set[1]["lr"] == folder_photos(lr)[1].read_hr()).all()
    with pytest.raises(InputError, match=r"data\.val_lr=.* is the LR of data\.val_dir"):
        builders.folder(folder, val_lr=lr, **settings)


def test_none_held_out(tmp_path, caplog):
    folder = fill(tmp_path / "x", 3)
    module = builders.folder(folder, patch_size=32, val_count=0, cache_dir=tmp_path / "cache")
    assert (len(module.train_set.sets[0]), len(module.val_set)) == (3, 0)
    assert "no photos for validation" in caplog.text


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A table of three sources; two of them, and photos for validation, are there."""
    table = ""
    for name, count in (("div2k_valid", 12), ("one", 3), ("two", 5), ("gone", 7)):
        values = asdict(source(folder=name.upper(), images=count, shorter=None, longer=None))
        del values["name"]
        table += toml(name, values)
        if name != "gone":
            fill(tmp_path / f"root/{name.upper()}/HR", count)
    path = tmp_path / "table.toml"
    path.write_text(table)
    monkeypatch.setattr(table_module, "_TABLE", path)
    return tmp_path / "root"


def test_downloaded_sources_are_packed_beside_them(known):
    """Breaks if sources are mixed up, or validation photos taken from the training photos."""
    module = builders.downloaded(["one", "two"], known, val_count=3, patch_size=32)
    assert [len(each) for each in module.train_set.sets] == [3, 5]
    assert names(module.val_set.photos) == ["002.png", "006.png", "010.png"]
    assert len([path for path in (known / "packs").iterdir() if path.suffix == ".safetensors"]) == 2


def test_fewer_of_the_embedded_photos(tmp_path):
    """Breaks if a ladder's step with less data sees all photos, or other ones to be judged by."""
    few, all_of_them = (builders.photos(train_count=n, cache_dir=tmp_path, patch_size=64) for n in (4, None))
    assert [photo.name for photo in few.train_set.sets[0].photos()] == [
        "astronaut.png",
        "coffee.png",
        "rocket.jpg",
        "hubble_deep_field.jpg",
    ]
    assert len(all_of_them.train_set.sets[0].photos()) == 13  # and the chart of colours
    assert names(few.val_set.photos) == names(all_of_them.val_set.photos) == ["chelsea.png", "flower.jpg"]


@pytest.mark.parametrize("count", [0, -1, 13])
def test_a_wrong_number_of_embedded_photos(count, tmp_path):
    with pytest.raises(InputError, match=rf"data.train_count={count} must be null or from 1 to 12"):
        builders.photos(train_count=count, cache_dir=tmp_path)


def test_no_folder_is_told():
    for nothing in (None, [], ""):
        with pytest.raises(InputError, match=r"give data\.train_dir=DIR"):
            builders.folder(nothing)
