"""``esrgan data`` as it is typed; sources come from a server on the loopback."""

import sys
import tomllib
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from tiny_source import HR, at, source, toml, zipped
from typed import esrgan

from esrgan_lightning.cli import data
from esrgan_lightning.data import Pack, Shards
from esrgan_lightning.data.catalog import sources as table_module
from esrgan_lightning.data.packing import PackWriter

TABLE = Path(table_module.__file__).with_name("sources.toml")


@pytest.fixture
def tiny(server, tmp_path):
    """A table with one source of three images."""
    values = asdict(source(at(server.serve("tiny.zip", zipped(HR)))))
    del values["name"]
    table = tmp_path / "tiny.toml"
    table.write_text(toml("tiny", values))
    return table


@pytest.fixture
def selfexsr(shared, tmp_path, server):
    """Set5_SR.zip and Set14_SR.zip as SelfExSR gives them out, and the table with their addresses here."""
    packaged, text = tomllib.loads(TABLE.read_text("utf-8")), ""
    for name in ("Set5", "Set14"):
        archive = tmp_path / f"{name}_SR.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for scale in (2, 3, 4):
                for kind, folder in (("HR", "HR"), ("LR", f"LRbicx{scale}")):
                    for path in sorted(shared(f"data/{name}/{folder}").glob("*.png")):
                        file.write(path, f"{name}/image_SRF_{scale}/{path.stem}_SRF_{scale}_{kind}.png")
        url = server.serve(archive.name, archive.read_bytes(), cut=[200_000, None])
        dead = server.url("gone.zip")
        values = packaged[name.lower()]
        values["offers"] = [{"archives": [{"file": archive.name, "urls": [dead, url]}]}]
        text += toml(name.lower(), values)
    table = tmp_path / "table.toml"
    table.write_text(text)
    return table


@pytest.mark.slow  # bicubic on 19 photos
def test_from_the_download_to_the_published_figure(selfexsr, server, tmp_path, monkeypatch):
    """Bicubic on Set5 x4 is 28.42 dB and on Set14 26.00 dB throughout the literature (SRCNN, PAMI 2016)."""
    from esrgan_lightning.cli.evaluate import run as evaluate
    from esrgan_lightning.config import compose

    root = tmp_path / "sets"
    code, out, err = esrgan("data", "get", "set5", "set14", "--root", root, "--table", selfexsr)
    assert code == 0, err
    for told in ("Set5, 5 images", "licence", "Bevilacqua", "set14: 14 images in"):
        assert told in out
    assert ("/Set5_SR.zip", "bytes=200000-") in server.requests, "it broke on the way and went on"
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["Set14", "Set5"]

    before = len(server.requests)
    code, out, _ = esrgan("data", "get", "set5", "set14", "--root", root, "--table", selfexsr)
    assert (code, out.count("there already"), len(server.requests)) == (0, 2, before)

    code, out, err = esrgan("data", "verify", "--root", root)
    assert (code, out.count("whole"), err) == (0, 2, "")

    monkeypatch.chdir(tmp_path)
    results = evaluate(compose("models=[bicubic]", "sets=[set5,set14]", f"root={root}", config="evaluate"))
    assert results["set5"]["bicubic"]["psnr_y"] == pytest.approx(28.42, abs=0.005)
    assert results["set14"]["bicubic"]["psnr_y"] == pytest.approx(26.0, abs=0.02)


def test_what_is_wrong_is_one_line(tmp_path):
    table = tmp_path / "mine.toml"
    table.write_text("[mine]\nimages = 'many'\n")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/letter.txt").touch()
    root = ("--root", tmp_path)
    for words, told in (
        (("get", "set55", *root), "no source is called 'set55'; there are "),
        (("list", "--table", table), f"{table}: mine."),
        (("get", "set5", "set14", *root, "--path", table), "--path is the archive of one source"),
        (("verify", "set5"), "--root is not given"),
        (("verify", "set5", *root), f"esrgan data get set5 --root {tmp_path}"),
        (("shard", table, "-o", tmp_path / "s"), "mine.toml"),
    ):
        code, _, error = esrgan("data", *words)
        assert (code, error.count("\n"), told in error) == (2, 1, True), error
        assert error.startswith(f"esrgan data {words[0]}: ")


def test_what_is_only_to_be_had_by_hand_says_how_and_the_others_still_come(tiny, tmp_path):
    root = tmp_path / "root"
    code, out, err = esrgan("data", "get", "manga109", "tiny", "--root", root, "--table", tiny)
    assert code == 2
    for told in ("manga109.org", "ask for access", str(root / "archives" / "Manga109.zip")):
        assert told in err
    assert "tiny: 3 images in" in out
    assert not (root / "archives").exists(), "nothing is left of what was unpacked"


def test_verify_ends_with_1_where_a_file_is_broken(tiny, tmp_path):
    root = tmp_path / "root"
    assert esrgan("data", "get", "tiny", "--root", root, "--table", tiny)[0] == 0
    code, out, err = esrgan("data", "verify", "tiny", "--root", root, "--table", tiny)
    assert (code, err) == (0, "")
    assert "tiny: whole" in out
    (root / "Tiny/HR/a.png").write_bytes(b"x")
    code, out, err = esrgan("data", "verify", "--root", root, "--table", tiny)
    assert code == 1
    assert "tiny: broken" in out
    broken = f"{root / 'Tiny/HR/a.png'} has another content than it had: its SHA-256 differs"
    assert err == f"esrgan data verify: {broken}\n"


def test_archives_are_kept_when_asked_and_never_taken_from_the_user(tiny, tmp_path, server):
    kept = tmp_path / "kept"
    assert esrgan("data", "get", "tiny", "--root", kept, "--table", tiny, "--keep-archives")[0] == 0
    mine = kept / "archives/tiny.zip"
    assert mine.exists()
    before = len(server.requests)
    assert esrgan("data", "get", "tiny", "--root", tmp_path / "b", "--table", tiny, "--path", mine)[0] == 0
    assert (mine.exists(), len(server.requests)) == (True, before)
    assert (
        esrgan("data", "get", "tiny", "--root", tmp_path, "--table", tiny, "--path", tmp_path / "no")[0] == 2
    )


def test_a_terminal_is_asked_first(tiny, tmp_path, monkeypatch):
    """Elsewhere nobody could answer; --yes answers beforehand."""
    asked = []
    monkeypatch.setattr(data, "interactive", lambda: True)
    monkeypatch.setattr(typer, "confirm", asked.append)  # gives None: no
    root = tmp_path / "root"
    assert esrgan("data", "get", "tiny", "--root", root, "--table", tiny)[0] == 1
    assert not root.exists()
    assert esrgan("data", "get", "tiny", "--root", root, "--table", tiny, "--yes")[0] == 0
    assert len(asked) == 1


def test_ctrl_c_tells_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("esrgan_lightning.data.catalog.install.install", interrupted)
    words = ["data", "get", "set5", "--root", str(tmp_path / "my sets"), "--yes"]
    monkeypatch.setattr(sys, "argv", ["esrgan", *words])
    code, _, err = esrgan(*words)
    assert code == 130
    assert f"To go on: esrgan data get set5 --root '{tmp_path / 'my sets'}' --yes" in err


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, size, colour in (("a", (130, 200), 10), ("b", (200, 300), 30), ("c", (130, 200), 10)):
        Image.fromarray(np.full((*size, 3), colour, np.uint8)).save(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def test_a_pack_is_made_and_damage_is_told_by_photo(folder, tmp_path):
    """Breaks if damage inside the pixels passes, or the exit code does not tell."""
    path = tmp_path / "p.safetensors"
    code, out, _ = esrgan("data", "pack", folder, "-o", path, "--threads", 1)
    assert (code, out, len(Pack(path))) == (0, f"{path}: 3 photos, 0.3 MB\n", 3)
    assert esrgan("data", "verify", path) == (0, f"{path}: whole, 3 photos\n", "")
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    told = f"esrgan data verify: {path}: c.png is damaged; make the pack again\n"
    assert esrgan("data", "verify", path) == (1, f"{path}: broken, 3 photos\n", told)
    path.write_bytes(data[:-1])
    code, _, err = esrgan("data", "verify", path)
    assert (code, "truncated or damaged" in err) == (2, True)


def test_bad_images_are_listed_and_the_exit_code_tells(folder, tmp_path, caplog):
    (folder / "b.png").write_bytes(b"not an image")
    code, out, err = esrgan("data", "pack", folder, "-o", tmp_path / "p")
    assert (code, out) == (2, "")
    assert "b.png is not a readable image" in err
    assert "--skip-bad, or" in err
    code, out, _ = esrgan("data", "pack", folder, "-o", tmp_path / "p", "--skip-bad")
    assert (code, "2 photos" in out) == (1, True)
    assert "left out b.png: b.png is not a readable image" in caplog.text


def test_a_full_disk_is_one_line(folder, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PackWriter, "add", full)
    code, _, err = esrgan("data", "pack", folder, "-o", tmp_path / "p")
    assert code == 2
    assert err.endswith("p cannot be written: No space left on device; what is done is kept\n")


def test_stats_of_a_folder_and_of_its_pack(folder, tmp_path):
    """Breaks if sizes or the count of small photos are computed wrongly."""

    def stats(path):
        code, out, _ = esrgan("data", "stats", path)
        assert code == 0
        cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
        return dict(each for each in cells if len(each) == 2)

    rows = stats(folder)
    assert (rows["photos"], rows["largest"], rows["median"]) == ("3", "200×300 (H×W)", "130×200 (H×W)")
    assert (rows["smaller than patch 128"], rows["smaller than patch 192"]) == ("0", "2")
    esrgan("data", "pack", folder, "-o", tmp_path / "p")
    assert stats(tmp_path / "p") == rows


def test_a_pack_becomes_shards_and_the_command_says_what_is_in_them(folder, tmp_path):
    pytest.importorskip("litdata", reason="shards are written by litdata: the extra [streaming]")
    esrgan("data", "pack", folder, "-o", tmp_path / "p")
    code, out, _ = esrgan("data", "shard", tmp_path / "p", "-o", tmp_path / "s", "--min-side", 150)
    assert (code, out) == (0, f"{tmp_path}/s: 1 tiles in 1 chunks, 0.2 MB\n")
    assert Shards(tmp_path / "s").smallest == 200
