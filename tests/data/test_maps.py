"""Maps on disk: bytes that add up, files that say what they are, and each fault by name."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from esrgan_lightning.data.maps import path_of, quantised, read_crop, read_maps, write_maps
from esrgan_lightning.errors import InputError

CLASSES = ("sky", "water", "rest")


def probabilities(height=5, width=7, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)).softmax(0)


def test_bytes_add_up_and_are_within_one_of_the_probabilities():
    """Plain rounding misses 255 at many pixels; largest remainders never, and no byte is off by 1."""
    p = probabilities(200, 200)
    bytes_ = quantised(p)
    assert (bytes_.sum(0, dtype=torch.int64) == 255).all()
    assert ((p * 255).round().sum(0) != 255).any()
    assert (bytes_ - p.double() * 255).abs().max() < 1


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_what_is_no_probability_is_refused(value):
    p = probabilities()
    p[0, 2, 3] = value
    with pytest.raises(InputError, match="at least 0"):
        quantised(p)
    with pytest.raises(InputError, match="not all 0"):
        quantised(torch.zeros(3, 1, 1))


def test_a_file_is_read_as_it_was_written_and_its_crop_is_the_crop_of_the_whole(tmp_path):
    write_maps(tmp_path / "a.safetensors", probabilities(), CLASSES)
    whole = read_maps(tmp_path / "a.safetensors", CLASSES, 5, 7)
    assert np.array_equal(whole, quantised(probabilities()).numpy())
    assert np.array_equal(read_crop(tmp_path / "a.safetensors", 1, 3, 4), whole[:, 1:5, 3:7])
    assert list(load_file(tmp_path / "a.safetensors")) == ["maps"]


def flipped(maps):
    maps[1, 2, 3] ^= 1
    return maps


@pytest.mark.parametrize(
    ("change", "classes", "told"),
    [
        (flipped, CLASSES, r"row 2, column 3 .* add up to 25[46], not to 255"),
        (lambda maps: maps[:, :4].contiguous(), CLASSES, r"\(3, 4, 7\).*\(3, 5, 7\)"),
        (lambda maps: maps / 255, CLASSES, "F32.*U8"),
        (lambda maps: maps, CLASSES[::-1], r"\['rest', 'water', 'sky'\].*\['sky', 'water', 'rest'\]"),
        (lambda maps: maps, None, "no list of names"),
    ],
)
def test_a_fault_is_named_with_its_file(tmp_path, change, classes, told):
    """Breaks if a wrong file trains, or ends as a traceback."""
    metadata = {"classes": json.dumps(classes) if classes else "sky, water"}
    save_file({"maps": change(quantised(probabilities()))}, tmp_path / "photo.safetensors", metadata)
    with pytest.raises(InputError, match=rf"photo\.safetensors.*{told}"):
        read_maps(tmp_path / "photo.safetensors", CLASSES, 5, 7)


def test_what_is_no_file_of_maps_is_named(tmp_path):
    path = tmp_path / "photo.safetensors"
    with pytest.raises(InputError, match=r"photo\.safetensors is missing.*esrgan segment"):
        read_maps(path, CLASSES, 5, 7)
    save_file({"map": quantised(probabilities())}, path)
    with pytest.raises(InputError, match=r"photo\.safetensors holds no tensor 'maps'"):
        read_maps(path, CLASSES, 5, 7)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"photo\.safetensors is not readable"):
        read_maps(path, CLASSES, 5, 7)


@pytest.mark.parametrize("name", ["../photo", "/etc/photo", "a/../../photo", "."])
def test_a_photos_name_cannot_lead_out_of_the_folder(tmp_path, name):
    """Names stand in packs, which anyone may have made."""
    with pytest.raises(InputError, match="leads out"):
        path_of(tmp_path, name)


def test_a_name_with_dots_keeps_them(tmp_path):
    assert path_of(tmp_path, "sub/photo.v2.png") == tmp_path / "sub/photo.v2.safetensors"


@pytest.mark.parametrize(
    ("path", "maps", "told"),
    [
        ("a.npy", probabilities(), "ending"),
        ("a.safetensors", probabilities()[:2], "3 classes"),
        ("a.safetensors", probabilities()[0], "3 classes"),
        ("a.safetensors", torch.zeros(3, 2, 2), "not all 0"),
    ],
)
def test_what_cannot_be_read_is_not_written(tmp_path, path, maps, told):
    with pytest.raises(InputError, match=told):
        write_maps(tmp_path / path, maps, CLASSES)
    assert list(tmp_path.iterdir()) == []
