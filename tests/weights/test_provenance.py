"""Where a model came from: what is recorded, and that it tells two origins apart."""

import json
import subprocess
from importlib.metadata import version

import pytest

from esrgan_lightning.weights import provenance as module
from esrgan_lightning.weights.provenance import git_revision, json_hash, provenance


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1")
    return tmp_path


def test_the_revision_is_the_whole_commit_and_tells_of_changed_files(repository):
    """Breaks if a tag, which can move, stands in place of the commit, or uncommitted code is silent."""
    commit = git(repository, "rev-parse", "HEAD")
    assert git_revision(repository) == commit
    (repository / "code.py").write_text("2\n")
    assert git_revision(repository) == f"{commit}-dirty"


def test_outside_a_repository_or_without_git_there_is_none(tmp_path, monkeypatch):
    """Breaks if training from an installed wheel fails, or names a strange repository's commit."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision(tmp_path) is None


def test_a_git_that_hangs_does_not_hold_up_training(tmp_path, monkeypatch):
    """Breaks if a repository on a dead network drive stops a run."""

    def hangs(*_, timeout, **__):
        raise subprocess.TimeoutExpired("git", timeout)

    monkeypatch.setattr(module.subprocess, "run", hangs)
    assert git_revision(tmp_path) is None


def test_the_hash_of_a_configuration_ignores_order_and_sees_values():
    """Breaks if the same run hashes differently twice, or 1e-2 hashes like 1e-3."""
    one = {"loss": {"pixel": 1e-2, "adversarial": 5e-3}, "seed": 0}
    assert json_hash(one) == json_hash({"seed": 0, "loss": {"adversarial": 5e-3, "pixel": 1e-2}})
    assert json_hash(one) != json_hash(one | {"seed": 1})
    # sha256 of {"a": 1}, by another program
    assert json_hash({"a": 1}) == "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"


def test_what_is_recorded_is_plain_and_whole(repository):
    """Breaks if a value cannot be written as JSON, or one of the promised names is missing."""
    origin = {"file": "psnr.safetensors", "sha256": "ab", "metadata": {"updates": 3}}
    record = provenance({"seed": 0}, data_hash="d", origin=origin, source=repository)
    assert json.loads(json.dumps(record)) == record
    assert set(record) == {"versions", "git_revision", "config_hash", "data_hash", "init"}
    assert record["versions"]["torch"] == version("torch")
    assert set(record["versions"]) == {"python", "esrgan-lightning", "torch", "pytorch-lightning"}
    assert record["config_hash"] == json_hash({"seed": 0})
    assert record["data_hash"] == "d"
    assert record["git_revision"] == git(repository, "rev-parse", "HEAD")
    assert record["init"] == origin
    assert provenance({}, data_hash="", origin=None, source=repository)["init"] is None
