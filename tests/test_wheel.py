"""The wheel, as a stranger installs it: built through the sdist, installed alone, run from another folder."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from faulty_server import running
from hub_server import Hub
from PIL import Image
from served import Service

from esrgan_lightning.bundled import bundled_weights

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "src", "conf")
MODELS = "esrgan_lightning/bundled/"
ALEXNET = "esrgan_lightning/networks/alexnet_features.safetensors"

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, **more: str) -> str:
    """Runs a command as a stranger would: nothing of the test's own environment leads to the checkout."""
    ours = ("PYTHON", "COV_", "COVERAGE", "VIRTUAL_ENV", "PYTEST")
    env = {key: value for key, value in os.environ.items() if not key.startswith(ours)} | more
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, text=True, capture_output=True, timeout=600
    )
    assert done.returncode == 0, f"{command} failed\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(copy: Path) -> Path:
    """Sdist and wheel, of a copy: a build/ left in the checkout would slip its old files into the wheel."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(source, copy / part)
    (copy / "tests").mkdir()
    (copy / "tests" / "test_nothing.py").touch()
    for file in copy.rglob("*"):
        os.utime(file)  # now: each build has other times
    # With neither --wheel nor --sdist the wheel is made of the sdist: both are complete, or this fails.
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist")
    run(*command, cwd=copy, SOURCE_DATE_EPOCH="1700000000")
    return copy / "dist"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def wheel(built):
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def home(wheel, tmp_path_factory):
    """A clean environment with the wheel in it; returns the folder of its commands.

    The dependencies (5 GB) are lent from the developer's environment through a .pth file. Python does not
    read the .pth files of a folder lent in that way, so the editable install there stays out of sight.
    """
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(place)
    python = place / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    run(uv, "pip", "install", "--offline", "--no-deps", "--python", python, wheel, cwd=place)
    paths = {"base": str(place), "platbase": str(place)}
    site_packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


@pytest.fixture
def foreign(tmp_path):
    folder = tmp_path / "a folder of a user's"
    folder.mkdir()
    return folder


def test_the_wheel_holds_what_it_should(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = {
        f"esrgan_lightning/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")
    }
    code = {
        str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py*") if path.suffix != ".pyc"
    }
    data = {
        "esrgan_lightning/conf/__init__.py",
        "esrgan_lightning/py.typed",
        "esrgan_lightning/data/catalog/sources.toml",
        "esrgan_lightning/evaluation/page.html",
        "esrgan_lightning/metrics/niqe_pristine.npz",
        "esrgan_lightning/metrics/NIQE_PRISTINE.md",
        "esrgan_lightning/networks/ALEXNET_FEATURES.md",
        "esrgan_lightning/ops/base.html",
        "esrgan_lightning/report/page.html",
        "esrgan_lightning/weights/public.toml",
        ALEXNET,
        *(
            f"{MODELS}{name}"
            for name in ("MODEL_CARD.md", "figures.json", "gan.safetensors", "psnr.safetensors")
        ),
    }
    assert len(conf) > 20
    assert sorted((conf | code | data) - names) == []
    others = {name for name in names - conf - code - data if ".dist-info/" not in name}
    assert others == set(), "tests or other strangers slipped in"
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_and_sdist_are_the_same_bytes_wherever_they_are_built(built, tmp_path):
    """Times, owners and the order of a folder's files make no difference."""
    (tmp_path / "other").mkdir()
    again = build(tmp_path / "other")
    digests = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        for folder in (built, again)
    ]
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]


def test_an_index_would_take_them(built):
    """Metadata, description and names, as twine looks at them before an upload."""
    told = run(sys.executable, "-m", "twine", "check", "--strict", *sorted(built.iterdir()), cwd=built)
    assert told.count("PASSED") == 2


def test_the_wheel_is_small(wheel):
    """Under a megabyte of code, under five of models, and LPIPS' AlexNet."""
    with zipfile.ZipFile(wheel) as content:
        sizes = {info.filename: info.compress_size for info in content.infolist()}
    models = sum(size for name, size in sizes.items() if name.startswith(MODELS))
    assert wheel.stat().st_size - models - sizes[ALEXNET] < 1_000_000
    assert models < 5_000_000
    assert sizes[ALEXNET] < 5_000_000


def test_the_wheel_is_what_runs(home, foreign):
    """Otherwise the tests below would run the checkout and prove nothing."""
    source = run(
        home / "python", "-c", "import esrgan_lightning; print(esrgan_lightning.__file__)", cwd=foreign
    )
    assert Path(source.strip()).is_relative_to(home.parent)


def test_help_and_configuration_answer_from_any_folder(home, foreign):
    assert "upscale" in run(home / "esrgan", "--help", cwd=foreign)
    assert "models: ???" in run(home / "esrgan-evaluate", "--cfg", "job", cwd=foreign)
    assert list(foreign.iterdir()) == [], "asking leaves nothing behind"


def test_a_users_own_loss_network_and_data_are_reached_by_target(home, foreign):
    """Notebook 5's files, from the command line of the wheel: nothing in the package knows of them.

    Both stages: conf/ is found inside the wheel, and --config-dir adds to it rather than taking its place.
    """
    cells = json.loads((ROOT / "notebooks/05_your_own_parts.ipynb").read_text("utf-8"))["cells"]
    for cell in cells:
        first, *rest = cell["source"]
        if first.startswith("%%writefile"):
            *_, name = first.split()
            (foreign / name).parent.mkdir(parents=True, exist_ok=True)
            with (foreign / name).open("a", encoding="utf-8") as file:
                file.write("".join(rest) + "\n")
    mine = ("--config-dir", "my", "experiment=mine", "preset=demo", "trainer.max_updates=2")
    mine = (*mine, "trainer.accelerator=cpu", "trainer.log_interval=1")
    run(home / "esrgan-train", *mine, "stage=psnr", "name=p", cwd=foreign)
    header, *lines = (foreign / "runs/p/metrics.csv").read_text().splitlines()
    assert "train/edges" in header
    assert len(lines) >= 2
    weights = foreign / "runs/p/generator.safetensors"
    assert b"my_parts.Enlarger" in weights.read_bytes()
    small = ("init=runs/p/generator.safetensors", "loss/perceptual=none", "discriminator.num_features=4")
    run(home / "esrgan-train", *mine, "stage=gan", "name=g", *small, cwd=foreign)
    written = {path.name for path in (foreign / "runs/g").iterdir()}
    assert {"checkpoints", "config.yaml", "generator.safetensors", "metrics.csv", "samples"} <= written


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_runs_on_each_supported_python(wheel, foreign, version):
    """Installed with all that it depends on, as the lock has it: models of all kinds, service, demo."""
    uv = Path(sys.executable).parent / "uv"
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))  # as pyenv has them
    python = beside[-1] if beside else shutil.which(f"python{version}")
    if not python:
        pytest.skip(f"no Python {version} here")
    run(uv, "venv", "-q", "-p", python, "venv", cwd=foreign)
    commands = foreign / "venv/bin"
    install = (uv, "pip", "install", "-q", "-p", commands / "python", "-c", ROOT / "requirements.lock")
    run(*install, wheel, cwd=foreign)
    told = run(commands / "python", "--version", cwd=foreign)
    assert told.startswith(f"Python {version}.")
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(foreign / "a.png")

    def upscaled(model, **environment):
        run(commands / "esrgan", "upscale", "a.png", "-m", model, "-o", "to.png", cwd=foreign, **environment)
        data = (foreign / "to.png").read_bytes()
        (foreign / "to.png").unlink()
        return data

    by_name = upscaled("psnr")
    assert upscaled("gan") != by_name
    model = bundled_weights("psnr")
    shutil.copy(model, foreign / "generator.safetensors")
    assert upscaled("generator.safetensors") == by_name

    run(*install, f"{wheel}[demo,hub,serve]", cwd=foreign)
    with running(Hub) as hub:
        hub.add("ann/photos", {"generator.safetensors": model.read_bytes()})
        online = {"HF_ENDPOINT": hub.url(""), "HF_HUB_CACHE": str(foreign / "hub"), "NO_PROXY": "127.0.0.1"}
        assert upscaled("hf:ann/photos", **online, HF_HUB_DISABLE_XET="1") == by_name
    service = Service("psnr", command=commands / "esrgan")
    try:
        answer = service.post((foreign / "a.png").read_bytes())
        assert Image.open(io.BytesIO(answer.content)).size == (96, 64)
        assert answer.status_code == 200
    finally:
        assert service.end() == 0
    run(commands / "esrgan", "demo", "--minutes", "0.4", cwd=foreign)
    assert {"psnr", "gan"} <= {path.name for path in (foreign / "runs/demo").iterdir()}
