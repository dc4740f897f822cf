"""Whole files: what an error or a crash leaves."""

import errno
import os

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import cache_folder, files_below, list_images, whole_file, write_whole


def test_the_name_is_given_at_the_end(tmp_path):
    """Breaks if a reader could meet a half-written file."""
    path = tmp_path / "new/file.bin"
    with whole_file(path) as partial:
        partial.write_bytes(b"half")
        assert not path.exists()
        assert partial.parent == path.parent  # a rename is atomic within one file system only
    assert path.read_bytes() == b"half"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fails():
        with whole_file(path) as partial:
            partial.write_bytes(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_to_folders_are_followed_once_and_without_loops(tmp_path):
    """Photos are often linked together from several disks."""
    home, other = tmp_path / "home", tmp_path / "other"
    for path in (home / "real/a.png", other / "deep/b.png", other / ".hidden/c.png"):
        path.parent.mkdir(parents=True)
        path.touch()
    (home / "again").symlink_to(home / "real")  # before real in the order of names, and the same folder
    (home / "link").symlink_to(other)
    (other / "back").symlink_to(home)
    (other / "round").symlink_to(other)
    (home / "file.png").symlink_to(other / "deep/b.png")
    (home / "broken.png").symlink_to(home / "missing")
    names = [path.relative_to(home).as_posix() for path in files_below(home)]
    assert names == ["broken.png", "file.png", "link/deep/b.png", "real/a.png"]
    (tmp_path / "alias").symlink_to(home)
    assert len(files_below(tmp_path / "alias")) == 4


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """Its photos would be missing without a word."""
    (tmp_path / "shut").mkdir()
    read = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="shut may not be read: Permission denied"):
        files_below(tmp_path)


def test_a_disk_that_is_full_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    """Breaks if the final name is opened for writing, or a half-written file is left."""
    path = tmp_path / "a.bin"
    write_whole(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.bin"]


def test_the_folder_follows_the_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x/esrgan-lightning"
    assert cache_folder(tmp_path / "y") == tmp_path / "y"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/esrgan-lightning"


def test_images_are_listed_sorted_and_without_hidden_ones(tmp_path):
    """Only what is hidden *below* the given folder is left out."""
    names = ["b.png", "a.JPG", "sub/c.tiff", "sub/deep/d.webp", "notes.txt", ".hidden.png", ".cache/e.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.JPG", "b.png", "sub/c.tiff", "sub/deep/d.webp"]
    assert len(list_images(tmp_path / ".cache")) == 1
    for name, reason in (("missing", "missing"), ("b.png", "not a folder"), ("folder.png", "no image")):
        with pytest.raises(InputError, match=reason):
            list_images(tmp_path / name)


def test_a_list_tells_what_it_leaves_out_with_counts(tmp_path, caplog):
    """A folder of seven kinds gave one picture, without a word."""
    for name in ("a.png", "b.JFIF", "c.gif", "d.ppm", "e.tga", "f.TGA", "g.jp2", "README"):
        (tmp_path / name).touch()
    (tmp_path / "g.png").symlink_to(tmp_path / "nowhere.png")
    for _ in range(2):
        assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JFIF", "c.gif", "d.ppm"]
    (told,) = caplog.messages  # once
    left_out = "1 .jp2, 2 .tga, 1 broken links or devices, 1 without suffix"
    assert told.endswith(f"left out: {left_out}")
    for name in ("a.png", "b.JFIF", "c.gif", "d.ppm"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"no image; it holds {left_out}"):
        list_images(tmp_path)
