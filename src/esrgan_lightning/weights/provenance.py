"""Where a model came from: recorded in every file that training writes."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("esrgan-lightning", "torch", "pytorch-lightning")


def git_revision(folder: Path) -> str | None:
    """The commit that ``folder`` stands at, with ``-dirty`` where files differ; None outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def json_hash(value: Any) -> str:
    """sha256 of a plain value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def provenance(
    config: Mapping[str, Any], *, data_hash: str, origin: Mapping[str, Any] | None, source: Path
) -> dict[str, Any]:
    """Plain values: versions, git revision, hashes of config and data, the model that training began from.

    ``data_hash`` is of the training photos' index, ``origin`` what ``init`` was, and ``source`` the folder of
    the package's code.
    """
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "git_revision": git_revision(source),
        "config_hash": json_hash(config),
        "data_hash": data_hash,
        "init": dict(origin) if origin else None,
    }
