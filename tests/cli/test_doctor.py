"""``esrgan doctor``: on this machine, and on machines with something wrong."""

import json
import sys
from collections import namedtuple

import pytest
import torch
from typer.testing import CliRunner

from esrgan_lightning.cli import doctor as checks
from esrgan_lightning.cli.app import app


def problems(findings):
    return {finding.what: finding.fix for finding in findings if finding.fix}


def test_this_machine_is_in_order_and_told_so():
    """The tests' own machine fulfils what pyproject.toml asks for."""
    assert problems(checks.packages()) == {}
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == (1 if "to mend:" in done.output else 0)
    words = (torch.__version__, "trainer.precision=auto", "trainer.channels_last=auto", "extra onnx")
    for shown in (*words, "comes with the package"):
        assert shown in done.output.replace("\n", " "), shown
    assert "object at 0x" not in done.output
    report = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert list(report) == ["Packages", "Devices", "Room", "Stores"]
    assert {"what": "torch", "found": torch.__version__.split("+")[0], "fix": None} in report["Packages"]


def test_a_compromised_lightning_and_a_missing_package_are_named(monkeypatch):
    """pytorch-lightning 2.6.2 was a compromised release."""
    known = {"pytorch-lightning": "2.6.2", "kornia": None}
    version = checks._version
    monkeypatch.setattr(checks, "_version", lambda name: known[name] if name in known else version(name))
    found = problems(checks.packages())
    assert set(found) == {"pytorch-lightning", "kornia"}
    assert found["pytorch-lightning"].startswith('pip install "pytorch-lightning')
    assert "!=2.6.2" in found["pytorch-lightning"]


def test_a_torch_that_cannot_be_imported_ends_nothing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    report = checks.findings(tmp_path)
    assert problems(report["Devices"]) == {"devices": "install the package anew"}
    assert [finding.what for finding in report["Room"]][:2] == ["memory", "shared memory"]


@pytest.mark.parametrize(
    ("cuda", "words"), [(None, "built for the CPU"), ("12.8", r"torch (CUDA 12.8) sees no device")]
)
def test_a_driver_without_a_device_is_told(monkeypatch, cuda, words):
    monkeypatch.setattr(checks.shutil, "which", lambda name: f"/usr/bin/{name}")
    finding = checks._no_cuda(cuda)
    assert words in finding.found
    assert finding.fix


def test_little_room_is_told(monkeypatch, tmp_path):
    """A container's 64 MB of shared memory, a full disk."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        checks.shutil, "disk_usage", lambda path: usage(0, 0, 2**26 if "shm" in str(path) else 10**9)
    )
    (tmp_path / "shm").mkdir()
    found = problems(checks.room(tmp_path, tmp_path / "shm"))
    assert found.keys() == {"shared memory", "disk"}
    assert "--shm-size" in found["shared memory"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_hydra_completes_in_the_shells_that_the_readme_names(call, shell):
    """Breaks if our own entry point keeps Hydra's completion from its arguments."""
    code, out, err = call("-sc", f"install={shell}")
    assert code == 0, err
    assert "esrgan-train" in out
