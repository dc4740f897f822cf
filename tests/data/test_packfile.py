"""A pack is plain safetensors, and one that is not whole is refused."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from esrgan_lightning.data import Pack, pack
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_rgb


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (40, 50, 3)), ("ü b.png", (30, 20)), ("more/a.jpg", (25, 31, 3))):
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def path(photos, tmp_path):
    return pack([photos], tmp_path / "photos.safetensors").path


def test_photos_are_those_of_the_files(path, photos):
    """Breaks if channels, rows or names are mixed up."""
    found = Pack(path)
    assert found.names == ["a.png", "more/a.jpg", "ü b.png"]
    for index, name in enumerate(found.names):
        assert np.array_equal(found.photo(index), read_rgb(photos / name).permute(1, 2, 0))
    assert found.sizes.tolist() == [[40, 50], [25, 31], [30, 20]]


def test_the_safetensors_package_reads_it(path):
    """Breaks if the file leaves the format: a hole, a wrong offset, a header that is not JSON."""
    found = Pack(path)
    with safe_open(path, framework="numpy") as file:
        assert sorted(file.keys()) == sorted(found.names)
        for index, name in enumerate(found.names):
            assert np.array_equal(file.get_tensor(name), found.photo(index))


def test_what_the_safetensors_package_writes_can_be_trained_on(tmp_path):
    save_file({"x": np.full((8, 9, 3), 7, np.uint8), "y": np.zeros((4, 4, 3), np.uint8)}, tmp_path / "p")
    assert Pack(tmp_path / "p").sizes.tolist() == [[8, 9], [4, 4]]
    with pytest.raises(InputError, match="keeps no hashes"):
        list(Pack(tmp_path / "p").damaged())


def test_photos_cannot_be_written_to_and_the_pack_can_be_sent_to_a_worker(path):
    found = pickle.loads(pickle.dumps(Pack(path)))
    with pytest.raises(ValueError, match="read-only"):
        found.photo(0)[0] = 1


def test_one_changed_byte_is_found(path):
    """Breaks if hashes are not those of the pixels."""
    assert not any(bad for _, bad in Pack(path).damaged())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert [name for name, bad in Pack(path).damaged() if bad] == ["ü b.png"]


def test_a_truncated_pack_is_refused(path):
    """Breaks if a pack is used that would end in a bus error in the middle of training."""
    data = path.read_bytes()
    for length in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=str(path)):
            Pack(path)
    path.write_bytes(data + b"x")
    with pytest.raises(InputError, match="truncated or damaged"):
        Pack(path)


def hostile(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        hostile(b"[" * 100_000),
        hostile({"a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]}}, b"1234"),
        hostile({"a": {"dtype": "F32", "shape": [1, 1, 3], "data_offsets": [0, 12]}}, b"1" * 12),
        hostile({"a": {"dtype": "U8", "shape": [1, 1, 4], "data_offsets": [0, 4]}}, b"1234"),
        hostile({"a": {"dtype": "U8", "shape": [0, 1, 3], "data_offsets": [0, 0]}}),
        hostile({"a": {"dtype": "U8", "shape": [1, 1, 3], "data_offsets": [0, 3]}}, b"1"),
        hostile({"__metadata__": {"format": "another 7"}}),
        hostile({"__metadata__": {"sha256": "no json"}}),
        hostile({}),
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path, content):
    """Breaks if a header is trusted: memory by the terabyte, views beyond the file, foreign errors."""
    (tmp_path / "hostile").write_bytes(content)
    with pytest.raises(InputError, match="hostile"):
        Pack(tmp_path / "hostile")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone is missing"):
        Pack(tmp_path / "gone")
