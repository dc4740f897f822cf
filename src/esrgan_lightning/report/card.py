"""A run as a model to hand on: its generator, its settings, a card that says what it is."""

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml  # type: ignore[import-untyped]

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import as_text
from esrgan_lightning.ops.tables import markdown, markdown_table
from esrgan_lightning.report.runs import read_run
from esrgan_lightning.weights.checkpoint import describe_file

_CARD = """\
---
{front}---
# {title}

{network}, ×{scale}, {parameters:,} parameters, trained with esrgan-lightning: {stage}, {updates:,} updates.

## Use

```bash
pip install "esrgan-lightning[hub]"
esrgan upscale photo.jpg -m hf:{repo}
```

```python
from esrgan_lightning import Upscaler

sr = Upscaler("hf:{repo}")(image)  # (3,h,w) → (3,{scale}·h,{scale}·w)
```

## Figures

Of the last validation:

{figures}

## Data

{data}

## Training

With the `config.yaml` of this repository, in which folders of the machine are names alone:

```bash
esrgan-train --config-dir . --config-name config hydra.run.dir=runs/again
```
{began}{picture}"""


_BEGAN = """
It began from {file}, whose tensors have the sha256 `{sha256}`.
"""
_PICTURE = """
## Pictures

Crops of the validation photos.

![Crops](samples.png)
"""
# How data are read makes no difference to what was learnt.
_ASIDE = ("_target_", "seed", "num_workers", "prepare", "cache_dir", "scale")


def run_files(
    folder: Path, repo: str, *, licence: str | None = None, picture: bool = True
) -> dict[str, bytes]:
    """What a repository of a run's model holds: ``generator.safetensors``, ``config.yaml``, ``README.md``.

    Absolute paths in the settings, which tell of a machine, become the names of their folders.

    Args:
        folder: The run's.
        repo: ``USER/REPO``, for the commands that the card shows.
        licence: As the Hub writes it (``apache-2.0``); without it the card says ``unknown``.
        picture: Whether the newest sample, which shows photos of the validation set, goes with it.

    Raises:
        InputError: The generator or the configuration is missing or damaged.
    """
    model, config = folder / "generator.safetensors", folder / "config.yaml"
    for file in (model, config):
        if not file.is_file():
            raise InputError(f"{file} is missing: give the folder of a run that has trained, as runs/NAME")
    run, described = read_run(folder, folder.resolve().name), describe_file(model)
    settings = _portable(yaml.safe_load(config.read_text("utf-8")))
    files = {"generator.safetensors": model.read_bytes(), "config.yaml": _yaml(settings)}
    if picture and run.samples is not None:
        files["samples.png"] = run.samples.read_bytes()
    front = {
        "license": licence or "unknown",
        "library_name": "esrgan-lightning",
        "pipeline_tag": "image-to-image",
        "tags": ["super-resolution", "esrgan"],
    }
    init = described["provenance"].get("init")
    data = {
        name: value
        for name, value in settings.get("data", {}).items()
        if name not in _ASIDE and not isinstance(value, Mapping | None)
    }
    source, degradation = (_last(settings.get(key)) for key in ("data", "degradation"))
    card = _CARD.format(
        front=_yaml(front).decode(),
        title=repo.partition("/")[2],
        repo=repo,
        network=described["architecture"],
        scale=described["arguments"]["scale"],
        parameters=described["parameters"],
        stage=f"stage={settings.get('stage', {}).get('name', 'unknown')}",
        updates=described["updates"] or run.updates,
        figures=_table({name: f"{value:.4f}" for name, value in run.metrics.items()}) or "None was made.",
        data=_table({"source": source, "degradation": degradation, **data}),
        began=_BEGAN.format(**init) if init else "",
        picture=_PICTURE if "samples.png" in files else "",
    )
    return {"README.md": as_text(card).encode(), **files}


def _last(node: Any) -> str:
    """The last part of what a setting names: ``Bicubic``."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return str(target).rpartition(".")[2] if target else "unknown"


def _table(rows: Mapping[str, Any]) -> str:
    texts = {key: ", ".join(map(str, each)) if isinstance(each, list) else each for key, each in rows.items()}
    body = [[markdown(name), markdown(value)] for name, value in texts.items()]
    return markdown_table(["", ""], body).rstrip() if body else ""


def _portable(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _portable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_portable(value) for value in node]
    if isinstance(node, str) and (node.startswith(("/", "~")) or PureWindowsPath(node).is_absolute()):
        return PureWindowsPath(node).name
    return node


def _yaml(content: Any) -> bytes:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text.encode()
