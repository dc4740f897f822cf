"""Networks of other projects by name: a download gives the right file."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from esrgan_lightning import Upscaler, load_generator
from esrgan_lightning.cli.app import app
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import load_models
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import image_size
from esrgan_lightning.weights import names
from esrgan_lightning.weights.names import PUBLIC, PublicModel, model_path, public_file


def test_the_table_is_whole():
    assert len({model.sha256 for model in PUBLIC.values()}) == len(PUBLIC)
    for name, model in PUBLIC.items():
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256), name
        assert all(url.startswith("https://") for url in model.urls), name
        row = f"| `{name}` | {model.scale} | {model.megabytes} MB | {model.licence} |"
        assert row in DOCS, name
        assert not set(name) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")


DOCS = (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")
DATA = io.BytesIO()
torch.save({"params_ema": RRDBNet(num_blocks=1).state_dict()}, DATA)
DATA = DATA.getvalue()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def theirs(server, tmp_path, monkeypatch):
    """``theirs(**faults)``: a public network of that name, on a server with these faults."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def serve(sha256=SHA256, **faults):
        url = server.serve("theirs.pth", DATA, **faults)
        table = {"theirs": PublicModel([url], sha256, 4, 4, "MIT", "example.org", "tests")}
        monkeypatch.setattr(names, "PUBLIC", table)
        return url

    return serve


def test_a_name_is_downloaded_once_and_means_the_same_everywhere(theirs, server, tmp_path, capsys):
    theirs(cut=[100_000, None])  # the line breaks once
    file = model_path("theirs")
    assert file == public_file("theirs") == tmp_path / "cache/esrgan-lightning/models/theirs.pth"
    assert file.read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-"]
    assert "theirs: 4 MB from example.org (MIT) to " in capsys.readouterr().err
    assert sorted(path.name for path in file.parent.iterdir()) == ["theirs.lock", "theirs.pth"]
    server.files.clear()  # from here on nothing is asked for
    Path("theirs").mkdir()  # a folder of that name is ./theirs
    assert model_path("./theirs") == Path("theirs")
    assert load_generator("theirs").scale == Upscaler("theirs").scale == 4
    assert list(load_models(["bicubic", "theirs"], 4)) == ["bicubic", "theirs"]
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("x.png")
    done = CliRunner().invoke(app, ["upscale", "x.png", "-m", "theirs", "-o", "out"])
    assert done.exit_code == 0, done.output
    assert image_size(Path("out/x.png")) == (32, 32)
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", ["another file", "gone"])
def test_a_file_that_cannot_be_had_is_one_line_that_says_where_to_put_it(fault, theirs, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    url = theirs(sha256="0" * 64) if fault == "another file" else theirs(status=[404])
    done = CliRunner().invoke(app, ["upscale", "x.png", "-m", "theirs"])
    notice, line = done.stderr.splitlines()
    assert done.exit_code == 2
    assert notice.startswith("theirs: 4 MB from")
    assert line.startswith(f"esrgan upscale: --model theirs.pth could not be had ({url}: ")
    assert ("sha256" if fault == "another file" else "404") in line
    assert line.endswith(f"get it by hand and put it there as {public_file('theirs')}")
    assert not public_file("theirs").exists()


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(theirs, server):
    theirs()
    file = public_file("theirs")
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA[:-1])
    with pytest.raises(InputError, match=r"^init=.*theirs.pth is not the right file \(sha256 "):
        model_path("theirs", key="init=")
    file.write_bytes(DATA)
    assert model_path("theirs") == file
    assert server.requests == []


def test_a_cache_that_cannot_be_written_is_told(theirs, tmp_path):
    url = theirs()
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(InputError, match=rf"cannot be written: .*XDG_CACHE_HOME.*{url}"):
        model_path("theirs")
