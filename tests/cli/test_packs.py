"""``esrgan data pack``, ``verify`` and ``stats`` as they are typed."""

import numpy as np
import pytest
from PIL import Image
from typed import esrgan

from esrgan_lightning.data import Pack


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, size, colour in (("a", (130, 200), 10), ("b", (200, 300), 30), ("c", (130, 200), 10)):
        Image.fromarray(np.full((*size, 3), colour, np.uint8)).save(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def test_a_pack_is_made_and_verified(folder, tmp_path):
    code, out, _ = esrgan("data", "pack", folder, "-o", tmp_path / "p.safetensors", "--threads", 1)
    assert (code, out) == (0, f"{tmp_path / 'p.safetensors'}: 3 photos, 0.3 MB\n")
    assert len(Pack(tmp_path / "p.safetensors")) == 3
    code, out, _ = esrgan("data", "verify", tmp_path / "p.safetensors")
    assert (code, out) == (0, f"{tmp_path / 'p.safetensors'}: whole, 3 photos\n")


def test_a_damaged_pack_is_told_by_photo(folder, tmp_path):
    """Breaks if damage inside the pixels passes, or the exit code does not tell."""
    path = tmp_path / "p.safetensors"
    esrgan("data", "pack", folder, "-o", path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    code, out, err = esrgan("data", "verify", path)
    assert (code, out) == (1, f"{path}: broken, 3 photos\n")
    assert err == f"esrgan data verify: {path}: c.png is damaged; make the pack again\n"
    path.write_bytes(data[:-1])
    code, _, err = esrgan("data", "verify", path)
    assert code == 2
    assert "truncated or damaged" in err


def test_bad_images_are_listed_and_the_exit_code_tells(folder, tmp_path, caplog):
    (folder / "b.png").write_bytes(b"not an image")
    code, out, err = esrgan("data", "pack", folder, "-o", tmp_path / "p")
    assert (code, out) == (2, "")
    assert "b.png is not a readable image" in err
    assert "--skip-bad leaves it out" in err
    code, out, _ = esrgan("data", "pack", folder, "-o", tmp_path / "p", "--skip-bad")
    assert code == 1
    assert "2 photos" in out
    assert "left out b.png: b.png is not a readable image" in caplog.text


def test_a_full_disk_is_one_line(folder, monkeypatch, tmp_path):
    """Breaks if a write that fails ends in a traceback."""
    from esrgan_lightning.data.packing import PackWriter

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PackWriter, "add", full)
    code, _, err = esrgan("data", "pack", folder, "-o", tmp_path / "p")
    assert code == 2
    assert err.endswith("p cannot be written: No space left on device; what is done is kept\n")


def test_stats_of_a_folder_and_of_its_pack(folder, tmp_path):
    """Breaks if sizes, the count of small photos, copies or the mean colour are computed wrongly."""
    code, out, _ = esrgan("data", "stats", folder)
    rows = {
        cells[0].strip(): cells[1].strip()
        for line in out.splitlines()
        if len(cells := line.split("│")[1:-1]) == 2
    }
    assert code == 0
    assert (rows["photos"], rows["largest"], rows["median"]) == ("3", "200×300 (H×W)", "130×200 (H×W)")
    assert (rows["smaller than patch 128"], rows["smaller than patch 192"]) == ("0", "2")
    esrgan("data", "pack", folder, "-o", tmp_path / "p")
    _, out, _ = esrgan("data", "stats", tmp_path / "p")
    rows = {
        cells[0].strip(): cells[1].strip()
        for line in out.splitlines()
        if len(cells := line.split("│")[1:-1]) == 2
    }
    assert rows["copies of another photo"] == "1"
    colours = np.repeat([10, 30, 10], [17 * 25, 25 * 38, 17 * 25])  # every eighth pixel of every eighth row
    assert rows["mean RGB (0..255)"] == " ".join([f"{colours.mean():.1f}"] * 3)
    assert rows["standard deviation"] == " ".join([f"{colours.std():.1f}"] * 3)


def test_verify_wants_to_know_where(tmp_path):
    code, _, err = esrgan("data", "verify", "set5")
    assert code == 2
    assert "--root is not given" in err
