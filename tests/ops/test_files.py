"""Whole files: what an error or a crash leaves."""

import pytest

from esrgan_lightning.ops.files import whole_file


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
