"""Packing: every photo once, damaged ones named, the same bytes after any interruption; and the cache."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from noise import fill
from PIL import Image
from safetensors import safe_open

from esrgan_lightning.data import Pack, pack, packed, packfile, packing
from esrgan_lightning.data.sources import PhotoSet, photos_from
from esrgan_lightning.errors import InputError


def truncate(path):
    """The header stays readable: what is wrong shows when the pixels are decoded."""
    path.write_bytes(path.read_bytes()[:-2000])


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("threads", [1, 3])
def test_the_bytes_do_not_depend_on_the_threads(tmp_path, threads):
    """Breaks if photos are written in the order in which they are decoded."""
    fill(tmp_path / "p", 12)
    one = pack([tmp_path / "p"], tmp_path / "one", threads=1)
    other = pack([tmp_path / "p"], tmp_path / "other", threads=threads)
    assert one.path.read_bytes() == other.path.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"p", "one", "other"}


def test_names_tell_folders_apart(tmp_path):
    fill(tmp_path / "x/HR", 2)
    fill(tmp_path / "y/HR", 1)
    with pytest.raises(InputError, match=r"would both be HR/000\.png"):
        pack([tmp_path / "x/HR", tmp_path / "y/HR"], tmp_path / "pack")
    both = pack([tmp_path / "x", tmp_path / "y"], tmp_path / "pack")
    assert both.names == ["x/HR/000.png", "x/HR/001.png", "y/HR/000.png"]


class TestDamagedImages:
    def test_a_file_that_is_no_image_is_named_before_any_work(self, tmp_path):
        fill(tmp_path / "p", 3)
        (tmp_path / "p/002.png").write_bytes(b"not an image")
        with pytest.raises(
            InputError, match=r"002\.png is not a readable image.*skip_bad=true, leaves it out"
        ):
            pack([tmp_path / "p"], tmp_path / "pack")
        assert {path.name for path in tmp_path.iterdir()} == {"p"}

    def test_a_truncated_one_is_named_when_it_is_decoded(self, tmp_path):
        fill(tmp_path / "p", 3)
        truncate(tmp_path / "p/001.png")
        with pytest.raises(InputError, match=r"001\.png .*--skip-bad"):
            pack([tmp_path / "p"], tmp_path / "pack")
        assert not (tmp_path / "pack").exists()

    def test_skip_bad_goes_on_and_lists_them(self, tmp_path):
        """Breaks if a left-out photo leaves a hole, shifts the others, or is forgotten."""
        fill(tmp_path / "p", 5)
        truncate(tmp_path / "p/001.png")
        (tmp_path / "p/003.png").write_bytes(b"not an image")
        made = pack([tmp_path / "p"], tmp_path / "pack", skip_bad=True)
        assert made.names == ["000.png", "002.png", "004.png"]
        assert made.left_out == ["001.png", "003.png"]
        assert not any(bad for _, bad in made.damaged())
        with Image.open(tmp_path / "p/004.png") as image:
            assert np.array_equal(made.photo(2), np.asarray(image))

    def test_nothing_but_bad_ones(self, tmp_path, caplog):
        """Breaks if a reason is lost, or files are left that the next packing stumbles over."""
        fill(tmp_path / "p", 2)
        truncate(tmp_path / "p/000.png")
        (tmp_path / "p/001.png").write_bytes(b"not an image")
        with pytest.raises(InputError, match=r"none of the 2 images can be read; the first: 000\.png: "):
            pack([tmp_path / "p"], tmp_path / "pack", skip_bad=True)
        assert "left out 000.png: 000.png " in caplog.text
        assert "left out 001.png: 001.png is not a readable image" in caplog.text
        assert {path.name for path in tmp_path.iterdir()} == {"p"}

    def test_what_was_left_out_before_the_interruption_is_asked_about_again(self, tmp_path, monkeypatch):
        """Breaks if a packing without ``skip_bad`` takes over what an earlier one with it has left out."""
        fill(tmp_path / "p", 3)
        truncate(tmp_path / "p/001.png")
        with monkeypatch.context() as patched:
            patched.setattr(packing.PackWriter, "finish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pack([tmp_path / "p"], tmp_path / "pack", skip_bad=True)
        with pytest.raises(InputError, match=r"001\.png"):
            pack([tmp_path / "p"], tmp_path / "pack")

    def test_a_mended_photo_lets_an_interrupted_packing_go_on(self, tmp_path, monkeypatch):
        """Breaks if what was packed before the damaged photo is decoded again."""
        fill(tmp_path / "p", 6)
        whole = (tmp_path / "p/004.png").read_bytes()
        truncate(tmp_path / "p/004.png")
        with pytest.raises(InputError):
            pack([tmp_path / "p"], tmp_path / "pack", threads=1)
        (tmp_path / "p/004.png").write_bytes(whole)
        decoded = []
        monkeypatch.setattr(
            packing, "read_rgb", lambda path, read=packing.read_rgb: decoded.append(path.name) or read(path)
        )
        assert len(pack([tmp_path / "p"], tmp_path / "pack")) == 6
        assert sorted(decoded) == ["004.png", "005.png"]


class TestInterruptions:
    @pytest.mark.parametrize(
        "damage", ["more", "header", "pixels", "short", "journal", "torn line", "other photo"]
    )
    def test_what_was_done_is_checked(self, tmp_path, monkeypatch, damage):
        """Breaks if what a kill or a crash of the machine left, or another photo's pixels, are trusted."""
        fill(tmp_path / "p", 8)
        reference = pack([tmp_path / "p"], tmp_path / "reference")
        add, calls = packing.PackWriter.add, []

        def fails(self, item, photo):
            calls.append(item)
            if len(calls) == 6:
                raise KeyboardInterrupt
            add(self, item, photo)

        monkeypatch.setattr(packing.PackWriter, "add", fails)
        with pytest.raises(KeyboardInterrupt):
            pack([tmp_path / "p"], tmp_path / "pack", threads=1)
        monkeypatch.undo()
        partial, journal = tmp_path / "pack.partial", tmp_path / "pack.journal"
        if damage in ("more", "header", "pixels"):
            with partial.open("r+b") as file:
                file.seek(*{"more": (0, os.SEEK_END), "header": (0,), "pixels": (-100, os.SEEK_END)}[damage])
                file.write(b"\1" * 50)
        elif damage == "short":
            os.truncate(partial, partial.stat().st_size - 1000)
        elif damage == "journal":
            journal.unlink()
        elif damage == "torn line":
            journal.write_bytes(journal.read_bytes()[:-20])
        else:
            fill(tmp_path / "q", 8)
            (tmp_path / "q/001.png").replace(tmp_path / "p/001.png")
            reference.path.unlink()
            reference = pack([tmp_path / "p"], tmp_path / "reference")
        again = pack([tmp_path / "p"], tmp_path / "pack")
        assert again.path.read_bytes() == reference.path.read_bytes()
        assert not list(tmp_path.glob("pack.*"))

    def test_more_names_than_before_start_anew(self, tmp_path, monkeypatch):
        """Breaks if room for the header of fewer photos is kept."""
        fill(tmp_path / "p", 4)
        monkeypatch.setattr(packing.PackWriter, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack([tmp_path / "p"], tmp_path / "pack")
        monkeypatch.undo()
        fill(tmp_path / "p", 40)
        assert len(pack([tmp_path / "p"], tmp_path / "pack")) == 40


def test_a_name_that_is_taken(tmp_path):
    fill(tmp_path / "p", 1)
    (tmp_path / "pack").write_text("mine")
    with pytest.raises(InputError, match=r"pack exists.*--overwrite"):
        pack([tmp_path / "p"], tmp_path / "pack")
    assert (tmp_path / "pack").read_text() == "mine"
    assert len(pack([tmp_path / "p"], tmp_path / "pack", overwrite=True)) == 1
    with pytest.raises(InputError, match="is a folder"):
        pack([tmp_path / "p"], tmp_path / "p", overwrite=True)


def test_a_disk_that_is_too_small_is_told_before_any_work(tmp_path, monkeypatch):
    fill(tmp_path / "p", 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(InputError, match="GB are free: make room"):
        pack([tmp_path / "p"], tmp_path / "pack")
    assert {path.name for path in tmp_path.iterdir()} == {"p"}


def test_more_photos_than_a_pack_can_name_are_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(packfile, "LONGEST_HEADER", 40_000)
    folder = fill(tmp_path / "p", 1)
    for index in range(1, 200):
        (folder / f"{index:03d}.png").hardlink_to(folder / "000.png")
    monkeypatch.setattr(packing, "image_size", None)  # no file is looked at
    with pytest.raises(InputError, match=r"200 photos are more than .* about 1\d\d: divide them"):
        pack([folder], tmp_path / "pack")
    assert {path.name for path in tmp_path.iterdir()} == {"p"}


def test_the_room_for_the_header_always_suffices(tmp_path):
    """Breaks if names that escape to six times their length need more than was left."""
    folder = tmp_path / "p"
    fill(folder, 1)
    for index in range(200):
        (folder / f"{index}.png").hardlink_to(folder / "000.png")
    for index in range(20):
        (folder / f"{'ü☃' * 25}{index}.png").hardlink_to(folder / "000.png")
        (folder / f"{'😀' * 40}{index}.png").write_bytes(b"not an image")
    made = pack([folder], tmp_path / "pack", skip_bad=True)
    assert (len(made), len(made.left_out)) == (221, 20)
    assert Pack(made.path).names == made.names


def test_names_that_are_no_utf_8(tmp_path):
    """Breaks if such a name ends the packing, at its end, or the pack is no safetensors file for others."""
    folder = fill(tmp_path / "p", 1)
    path = os.fsencode(folder) + b"/lat\xe9in.png"
    try:
        (folder / "000.png").rename(os.fsdecode(path))
    except OSError:
        pytest.skip("this file system has no such names")
    made = pack([folder], tmp_path / "pack")
    assert made.names == [r"lat\udce9in.png"]
    assert made.digest()
    with safe_open(made.path, framework="numpy") as file:
        assert list(file.keys()) == made.names
    assert PhotoSet(made).photos()[0].name == photos_from([Path(os.fsdecode(path))])[0].name


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
    monkeypatch.setattr(packing, "pack", None)  # a second packing would fail
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


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path, monkeypatch):
    """Breaks if a cache below a file, or one in which no lock can lie, is a traceback or lacks the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/x cannot be written: .*data.cache_dir=DIR"):
        packed([folder], tmp_path / "file/x")

    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("esrgan_lightning.data.packing.FileLock.acquire", refuse)
    with pytest.raises(InputError, match=r"cache cannot be written: Permission denied; data.cache_dir=DIR"):
        packed([folder], tmp_path / "cache")
