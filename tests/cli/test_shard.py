"""``esrgan data shard`` as it is typed."""

import numpy as np
import pytest
from PIL import Image
from typed import esrgan

from esrgan_lightning.data import Shards, pack

pytest.importorskip("litdata", reason="shards are written by litdata: the extra [streaming]")


@pytest.fixture
def packs(tmp_path):
    for name, side in (("a", 200), ("b", 100)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{name}.png")
        pack([tmp_path / f"{name}.png"], tmp_path / f"{name}.safetensors")
    return [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]


def test_packs_become_shards_and_the_command_says_what_is_in_them(packs, tmp_path):
    code, out, _ = esrgan("data", "shard", *packs, "-o", tmp_path / "s", "--tile", 128, "--overlap", 64)
    assert (code, out) == (0, f"{tmp_path}/s: 10 tiles in 1 chunks, 0.4 MB\n")
    assert Shards(tmp_path / "s").smallest == 100


def test_what_is_wrong_is_one_line(packs, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/letter.txt").touch()
    (tmp_path / "file").touch()
    for output, said in (("s", "is not empty"), ("file", "file is a file")):
        code, _, error = esrgan("data", "shard", *packs, "-o", tmp_path / output)
        assert code == 2
        assert error.count("\n") == 1
        assert error.startswith("esrgan data shard: ")
        assert said in error
