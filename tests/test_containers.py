"""The container image's steps, taken in a clean folder without a container."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def steps():
    """(instruction, rest) of the Dockerfile's lines."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


@pytest.mark.slow
def test_each_step_of_the_image_works_in_a_clean_folder(tmp_path):
    """With the dependencies lent, as in tests/test_wheel.py: torch alone is gigabytes."""
    place, context, work = (tmp_path / name for name in ("venv", "image", "work"))
    venv.create(place, with_pip=True)
    paths = {"base": str(place), "platbase": str(place)}
    site_packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ours = ("PYTHON", "COV_", "COVERAGE", "VIRTUAL_ENV", "PYTEST")
    env = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    env["PATH"] = f"{place / 'bin'}{os.pathsep}{env['PATH']}"
    ran, folder = [], context
    for kind, rest in steps():
        folder.mkdir(exist_ok=True)
        if kind == "ARG":
            env[rest.split("=")[0]] = rest.split("=", 1)[1]
        elif kind == "ENV":
            env |= dict(pair.split("=") for pair in rest.split())
        elif kind == "WORKDIR":
            folder = work if rest == "/work" else context
        elif kind == "COPY":
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(
                        ROOT / source, folder / target, ignore=shutil.ignore_patterns("*.egg-info")
                    )
                else:
                    shutil.copy(ROOT / source, folder / target)
        elif kind == "RUN":
            done = subprocess.run(
                rest, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=600
            )
            assert done.returncode == 0, f"{rest}\n{done.stdout}\n{done.stderr}"
            ran.append(done.stdout)
        else:
            assert kind in ("FROM", "ENTRYPOINT", "CMD"), kind
    assert "gan" in ran[-1]
    (command,) = [json.loads(rest) for kind, rest in steps() if kind == "ENTRYPOINT"]
    assert (place / "bin" / command[0]).is_file()
    source = "import esrgan_lightning; print(esrgan_lightning.__file__)"
    told = subprocess.run([place / "bin/python", "-c", source], cwd=work, capture_output=True, text=True)
    assert Path(told.stdout.strip()).is_relative_to(place), "the image's own copy, not the checkout"


def test_the_image_is_made_of_what_its_context_holds():
    """Breaks if a step copies what .dockerignore leaves out, or the wheel's needs are not copied."""
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")
    }
    copied = {source for kind, rest in steps() if kind == "COPY" for source in rest.split()[:-1]}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_and_the_project_name_the_same_python_and_extras():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r"FROM python:(3\.\d+)-slim", text)[1]
    assert f"Python :: {version}" in project
    extras = re.search(r'"\.\[(.+)\]"', text)[1].split(",")
    assert all(re.search(rf"^{extra} = \[", project, flags=re.MULTILINE) for extra in extras)
