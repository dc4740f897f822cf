"""Models on the Hugging Face Hub, against a server that speaks its API and breaks in chosen ways."""

import json
import re
import sys
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from faulty_server import running
from hub_server import Hub
from typer.testing import CliRunner

from esrgan_lightning import Upscaler, load_generator
from esrgan_lightning.bundled import bundled_weights
from esrgan_lightning.cli.app import app
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import load_models
from esrgan_lightning.weights import describe_file, hub
from esrgan_lightning.weights.names import model_path

DATA = bundled_weights("psnr").read_bytes()
FILE = "generator.safetensors"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


@pytest.fixture
def server():
    with running(Hub) as hub_server:
        yield hub_server


@pytest.fixture
def online(server, monkeypatch, cache, tmp_path):
    """The server; the library is pointed at it as HF_ENDPOINT and HF_HUB_CACHE do when it is imported."""
    for name, value in {
        "ENDPOINT": server.url("").rstrip("/"),
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url("{repo_id}/resolve/{revision}/{filename}"),
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    hub.fetch_hub.cache_clear()
    huggingface_hub.close_session()
    huggingface_hub.utils.disable_progress_bars()
    yield server
    huggingface_hub.utils.enable_progress_bars()
    hub.fetch_hub.cache_clear()
    huggingface_hub.close_session()


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def left(cache):
    """The files of models that lie in the cache."""
    return [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 100_000]


def test_an_address_works_wherever_a_model_is_asked_for(online, cache):
    online.add("ann/photos", {FILE: DATA, "README.md": b"x"})
    online.add("ann/photos", {FILE: bundled_weights("gan").read_bytes()}, revision="v1.0")
    assert model_path("hf:ann/photos").is_relative_to(cache)
    assert model_path("hf:ann/photos").read_bytes() == DATA
    assert load_generator("hf:ann/photos").scale == Upscaler("hf:ann/photos").scale == 4
    gan = describe_file("gan")["sha256"]
    assert json.loads(run("inspect", "hf:ann/photos@v1.0", "--json").stdout)["sha256"] == gan
    names = ["bicubic", "hf:ann/photos", "hf:ann/photos@v1.0"]
    assert list(load_models(names, 4)) == names
    done = run("interpolate", "hf:ann/photos", "hf:ann/photos@v1.0", "-o", "mid.safetensors")
    assert (done.exit_code, Path("mid.safetensors").exists()) == (0, True), done.output
    asked = [path for path, _ in online.requests if path.endswith(FILE)]
    assert len(asked) == 2, "each is downloaded once"


def test_without_a_network_what_the_cache_has_is_taken(online, monkeypatch):
    online.add("ann/photos", {FILE: DATA})
    file = model_path("hf:ann/photos")
    hub.fetch_hub.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert model_path("hf:ann/photos") == file
    with pytest.raises(InputError, match=r"^hf:ann/other: http.* does not answer .* give the file$"):
        model_path("hf:ann/other")


def test_a_download_that_fails_is_told(online):
    online.add("ann/photos", {FILE: DATA}, status=[403])
    with pytest.raises(
        InputError, match=r"^hf:ann/photos: generator.safetensors could not be downloaded .*403"
    ):
        model_path("hf:ann/photos")


@pytest.mark.parametrize("stated", [{"sha256": "0" * 64}, {"lfs": None, "blobId": "0" * 40}])
def test_a_file_that_is_not_what_the_hub_says_is_deleted(stated, online, cache):
    online.add("ann/photos", {FILE: DATA})
    online.stated[FILE] = stated
    with pytest.raises(InputError, match=r"not what the Hub says it is; it was deleted"):
        model_path("hf:ann/photos")
    assert left(cache) == []
    online.stated[FILE] = {"lfs": None} if "lfs" in stated else {}
    assert model_path("hf:ann/photos").read_bytes() == DATA


@pytest.mark.parametrize(
    ("files", "stated", "says"),
    [
        ({"model.pth": b"pickle", "model.ckpt": b"pickle"}, {}, "holds no .safetensors files"),
        ({"../../up.safetensors": DATA, "/etc/x.safetensors": DATA}, {}, "holds no .safetensors files"),
        ({"sub/a.safetensors": DATA, "..safetensors": DATA}, {}, "holds no .safetensors files"),
        ({"a.safetensors": DATA, "b.safetensors": DATA}, {}, "holds several .safetensors files"),
        ({FILE: DATA}, {FILE: {"size": 2**40}}, "1099511627776 bytes, and at most 2147483648 are fetched"),
    ],
)
def test_a_repository_of_a_stranger_is_not_trusted(files, stated, says, online, cache):
    online.add("eve/trap", files)
    online.stated |= stated
    with pytest.raises(InputError, match=re.escape(says)):
        model_path("hf:eve/trap")
    assert left(cache) == []
    assert not any("resolve" in path for path, _ in online.requests), "nothing is downloaded"


def test_a_single_file_of_any_name_is_taken_and_read_with_care(online):
    online.add("ann/one", {"net.safetensors": DATA})
    assert load_generator("hf:ann/one").scale == 4
    online.add("eve/trap", {FILE: b"\x80\x04pickle" * 50})
    with pytest.raises(InputError, match="not readable as weights"):
        load_generator("hf:eve/trap")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("hf:ann/none", "the Hub has no such model, or it is private"),
        ("hf:ann/photos@v9", "it has no revision v9"),
        ("hf:ann", "must be hf:USER/REPO or hf:USER/REPO@REVISION"),
        ("hf:ann/../x", "must be hf:USER/REPO"),
        ("hf:ann/photos@../../x", "must be hf:USER/REPO"),
    ],
)
def test_a_wrong_address_is_one_line(model, says, online):
    online.add("ann/photos", {FILE: DATA})
    done = run("upscale", "x.png", "-m", model)
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, line.startswith(f"esrgan upscale: --model {model}"), says in line) == (
        2,
        True,
        True,
    )


def test_an_address_is_never_a_file_and_the_other_way_round(online):
    online.add("ann/photos", {FILE: DATA})
    Path("hf:ann").mkdir()
    Path("hf:ann/photos").write_bytes(b"mine")
    assert model_path("hf:ann/photos").read_bytes() == DATA
    assert model_path("./hf:ann/photos").read_bytes() == b"mine"
    assert model_path(Path("hf:ann/photos")).read_bytes() == b"mine"


def test_without_the_extra_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"hf:ann/photos needs the extra hub: .*esrgan-lightning\[hub\]"):
        model_path("hf:ann/photos")


@pytest.fixture
def trained(tmp_path):
    """What a run leaves behind."""
    folder = tmp_path / "runs/gan"
    (folder / "samples").mkdir(parents=True)
    (folder / FILE).write_bytes(DATA)
    (folder / "samples/update_0000002.png").write_bytes(b"picture")
    (folder / "metrics.csv").write_text("step,loss,val/psnr_y\n1,0.5,\n2,0.4,30.25\n")
    (folder / "config.yaml").write_text(
        "stage: {name: gan}\nscale: 4\n"
        "data: {_target_: esrgan_lightning.data.folder, train_dir: [/home/ann/photos], val_dir: D:\\held}\n"
        "degradation: {_target_: esrgan_lightning.data.degradations.Bicubic}\n"
    )
    return folder


# Of huggingface_hub itself, at each upload.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_run_is_pushed_in_one_commit_and_comes_back_the_same(online, trained):
    done = run("push", trained, "--to", "ann/photos", "--licence", "apache-2.0")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    files = online.repos["ann/photos"]["main"]
    assert (sorted(files), len(online.commits)) == (["README.md", "config.yaml", FILE, "samples.png"], 1)
    assert files[FILE] == DATA
    assert files["samples.png"] == b"picture"
    assert yaml.safe_load(files["config.yaml"])["data"]["train_dir"] == ["photos"]
    assert not re.search(r"/home|D:|\\", files["config.yaml"].decode() + files["README.md"].decode())
    front, card = files["README.md"].decode().split("---\n")[1:]
    assert yaml.safe_load(front)["license"] == "apache-2.0"
    for part in (
        "-m hf:ann/photos",
        "| psnr_y | 30.2500 |",
        "| degradation | Bicubic |",
        "stage=gan",
        "(samples.png)",
    ):
        assert part in card, part
    assert "| train_dir | photos |" in card
    assert model_path("hf:ann/photos").read_bytes() == DATA


def test_what_is_private_does_not_go_to_a_public_repository(online, trained):
    online.add("ann/photos", {"README.md": b"x"})
    done = run("push", trained, "--to", "ann/photos", "--private")
    assert (done.exit_code, "it is there already and public" in done.stderr, online.commits) == (2, True, [])


def test_a_dry_run_prints_the_card_and_sends_nothing(online, trained):
    done = run("push", trained, "--to", "ann/photos", "--no-picture", "--dry-run")
    assert "license: unknown" in done.stdout
    assert "samples.png" not in done.stdout
    assert done.stderr.startswith("note: the card says license: unknown")
    assert online.repos == {}


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("forbidden", "ann/photos was not updated ("),
        ("name", "--to ann must be USER/REPO"),
        ("no run", "generator.safetensors is missing: give the folder of a run"),
    ],
)
def test_what_cannot_be_pushed_is_one_line(what, says, online, trained):
    online.forbidden = what == "forbidden"
    folder = trained.parent if what == "no run" else trained
    done = run("push", folder, "--to", "ann" if what == "name" else "ann/photos")
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, says in line, online.commits) == (2, True, [])
