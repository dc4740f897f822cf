"""A folder is decoded once, and again when a photo changes."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from esrgan_lightning.data import cache, packed
from esrgan_lightning.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.fromarray(np.full((20, 30, 3), index, np.uint8)).save(tmp_path / f"photos/{index}.png")
    return tmp_path / "photos"


def kept(tmp_path):
    return [path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_the_second_time_nothing_is_decoded(folder, tmp_path, monkeypatch):
    first = packed([folder], tmp_path / "cache")
    monkeypatch.setattr(cache, "pack", None)  # a second packing would fail
    assert packed([folder], tmp_path / "cache").path == first.path


def test_a_changed_photo_makes_the_pack_anew_and_deletes_the_old_one(folder, tmp_path):
    """Breaks if training goes on with what a folder held before, or the cache grows with each change."""
    packed([folder], tmp_path / "cache")
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(folder / "1.png")
    os.utime(folder / "1.png", (1, 1))
    again = packed([folder], tmp_path / "cache")
    assert again.photo(1)[0, 0, 0] == 99
    assert kept(tmp_path) == [again.path.name]


def test_another_folder_of_the_same_name_is_another_pack(folder, tmp_path):
    other = tmp_path / "other/photos"
    other.mkdir(parents=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(other / "0.png")
    assert len(packed([folder], tmp_path / "cache")) == 3
    assert len(packed([other], tmp_path / "cache")) == 1
    assert len(kept(tmp_path)) == 2


def test_a_damaged_photo_is_refused_or_left_out_with_a_notice(folder, tmp_path, caplog):
    (folder / "1.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"1\.png .*data\.skip_bad=true"):
        packed([folder], tmp_path / "cache")
    assert len(packed([folder], tmp_path / "cache", skip_bad=True)) == 2
    assert "left out 1.png: " in caplog.text


def test_a_damaged_pack_is_made_anew(folder, tmp_path, caplog):
    path = packed([folder], tmp_path / "cache").path
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert len(packed([folder], tmp_path / "cache")) == 3
    assert path.read_bytes() == whole
    assert "truncated or damaged" in caplog.text


def test_processes_that_want_the_same_pack_make_it_once(folder, tmp_path):
    """Breaks if two processes write one file at the same time."""
    script = (
        "import logging, sys; logging.basicConfig(level='INFO'); "
        "from esrgan_lightning.data import packed; print(len(packed([sys.argv[1]], sys.argv[2])))"
    )
    command = [sys.executable, "-c", script, folder, tmp_path / "cache"]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [child.communicate() for child in children]
    assert [out for out, _ in outputs] == ["3\n", "3\n"]
    assert sum("decoded once" in err for _, err in outputs) == 1
    assert len(kept(tmp_path)) == 1


def test_a_cache_that_cannot_be_made_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"data\.cache_dir=.*file.x cannot be made"):
        packed([folder], tmp_path / "file/x")
