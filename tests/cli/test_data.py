"""``esrgan data`` as it is typed, against a server on the loopback with archives of the real layout."""

import sys
import tomllib
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from tiny_source import HR, at, source, toml, zipped
from typer.testing import CliRunner

from esrgan_lightning.cli import data
from esrgan_lightning.cli.app import app
from esrgan_lightning.data.catalog import sources as table_module

TABLE = Path(table_module.__file__).with_name("sources.toml")


@pytest.fixture
def esrgan(monkeypatch):
    """Runs ``esrgan ARGUMENTS``; gives the exit code and the two outputs, in one line each."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["esrgan", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


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
def test_from_the_download_to_the_published_figure(selfexsr, server, tmp_path, esrgan, monkeypatch):
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


def test_an_unknown_source_or_a_wrong_table_is_one_line(esrgan, tmp_path):
    code, _, err = esrgan("data", "get", "set55", "--root", tmp_path)
    assert code == 2
    assert err.startswith("esrgan data get: no source is called 'set55'; there are ")
    assert err.count("\n") == 1
    table = tmp_path / "mine.toml"
    table.write_text("[mine]\nimages = 'many'\n")
    code, _, err = esrgan("data", "list", "--table", table)
    assert code == 2
    assert f"{table}: mine." in err
    code, _, err = esrgan("data", "get", "set5", "set14", "--root", tmp_path, "--path", table)
    assert code == 2
    assert "--path is the archive of one source" in err


def test_what_is_only_to_be_had_by_hand_says_how_and_the_others_still_come(esrgan, tiny, tmp_path):
    root = tmp_path / "root"
    code, out, err = esrgan("data", "get", "manga109", "tiny", "--root", root, "--table", tiny)
    assert code == 2
    for told in ("manga109.org", "ask for access", str(root / "archives" / "Manga109.zip")):
        assert told in err
    assert "tiny: 3 images in" in out
    assert not (root / "archives").exists(), "nothing is left of what was unpacked"


def test_verify_ends_with_1_where_a_file_is_broken(esrgan, tiny, tmp_path):
    root = tmp_path / "root"
    assert esrgan("data", "get", "tiny", "--root", root, "--table", tiny)[0] == 0
    code, out, err = esrgan("data", "verify", "tiny", "--root", root, "--table", tiny)
    assert (code, err) == (0, "")
    assert "tiny: whole" in out
    (root / "Tiny/HR/a.png").write_bytes(b"x")
    code, out, err = esrgan("data", "verify", "--root", root, "--table", tiny)
    assert code == 1
    assert "tiny: broken" in out
    assert err == f"esrgan data verify: {root / 'Tiny/HR/a.png'} has 1 bytes, not {len(HR['top/hr/a.png'])}\n"
    code, _, err = esrgan("data", "verify", "set5", "--root", root)
    assert code == 2
    assert f"esrgan data get set5 --root {root}" in err


def test_archives_are_kept_when_asked_and_never_taken_from_the_user(esrgan, tiny, tmp_path, server):
    kept = tmp_path / "kept"
    assert esrgan("data", "get", "tiny", "--root", kept, "--table", tiny, "--keep-archives")[0] == 0
    mine = kept / "archives/tiny.zip"
    assert mine.exists()
    before = len(server.requests)
    assert esrgan("data", "get", "tiny", "--root", tmp_path / "b", "--table", tiny, "--path", mine)[0] == 0
    assert (mine.exists(), len(server.requests)) == (True, before)


def test_a_terminal_is_asked_first(esrgan, tiny, tmp_path, monkeypatch):
    """Elsewhere nobody could answer; --yes answers beforehand."""
    asked = []
    monkeypatch.setattr(data, "interactive", lambda: True)
    monkeypatch.setattr(typer, "confirm", asked.append)  # gives None: no
    root = tmp_path / "root"
    assert esrgan("data", "get", "tiny", "--root", root, "--table", tiny)[0] == 1
    assert not root.exists()
    assert esrgan("data", "get", "tiny", "--root", root, "--table", tiny, "--yes")[0] == 0
    assert len(asked) == 1


def test_ctrl_c_tells_how_to_go_on(esrgan, tmp_path, monkeypatch):
    from esrgan_lightning.data.catalog import install as module

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "install", interrupted)
    code, _, err = esrgan("data", "get", "set5", "--root", tmp_path / "my sets", "--yes")
    assert code == 130
    assert f"To go on: esrgan data get set5 --root '{tmp_path / 'my sets'}' --yes" in err
