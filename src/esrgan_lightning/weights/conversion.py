"""Generators for other tools: the same tensors under the names and in the wrapping that each one reads."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from esrgan_lightning.bundled import model_path
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import build_network
from esrgan_lightning.ops.files import whole_file
from esrgan_lightning.weights.checkpoint import resolve_spec, write_generator_file
from esrgan_lightning.weights.files import LINEAGE_KEY
from esrgan_lightning.weights.layouts import from_canonical
from esrgan_lightning.weights.reader import read_contents
from esrgan_lightning.weights.state import differences, require_finite

#: What is written, by name → the endings of its files.
TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "safetensors": (".safetensors",),
        "basicsr": (".pth", ".pt"),
        "esrgan2018": (".pth", ".pt"),
        "mmagic": (".pth", ".pt"),
    }
)


def convert_file(
    path: str | Path,
    out: str | Path,
    to: str,
    *,
    scale: int | None = None,
    overwrite: bool = False,
    half: bool = False,
) -> list[str]:
    """Writes a generator's file in another layout; no tensor changes, in value or in type, but by ``half``.

    ``safetensors`` is this library's, with spec and provenance, under names that all tools below read.
    ``basicsr`` is ``{"params": …}`` for BasicSR and Real-ESRGAN, ``mmagic`` a checkpoint with
    ``generator.…``; both carry spec and provenance under a key that the tools pass over. ``esrgan2018`` is
    the bare Sequential of the ESRGAN authors' first release.

    Args:
        path: Any file that ``read_generator_file`` knows.
        out: The file to write, whole or not at all; missing folders are made.
        to: Among :data:`TARGETS`.
        scale: For foreign files whose scale cannot be told.
        overwrite: Replace ``out`` where it exists.
        half: Round to float16: half the size, pictures that differ by a level here and there.

    Returns:
        What whoever uses the file has to know, in sentences; mostly nothing.

    Raises:
        InputError: An unknown layout, an ending that is not its, a file that is no generator or that the
            layout cannot hold, or an ``out`` that exists or cannot be written.
    """
    path, out = model_path(path), Path(out)
    if to not in TARGETS:
        raise InputError(f"--to {to}: known are {', '.join(TARGETS)}")
    if out.suffix not in TARGETS[to]:
        raise InputError(f"-o {out}: a file of {to} ends in {' or '.join(TARGETS[to])}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another name, or replace it by --overwrite")
    contents = read_contents(path)
    spec = resolve_spec(contents.state, contents.spec, scale=scale, source=path)
    _check_complete(contents.state, spec, path)
    state = contents.state
    require_finite(state, path)
    if half:
        state = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
        if not all(each.isfinite().all() for each in state.values()):
            raise InputError(f"{path} has weights beyond float16's largest, 65,504: leave out --half")
    provenance = contents.provenance  # of a checkpoint the updates stand elsewhere
    if contents.spec is not None and contents.updates is not None:
        provenance = {**provenance, "updates": contents.updates}
    if to == "safetensors":
        write_generator_file(out, state, spec, provenance)
        return []
    notes = _check_holds(to, spec, path)
    lineage = {LINEAGE_KEY: {"spec": spec, "provenance": provenance}}
    content: dict[str, Any]
    if to == "basicsr":
        content = {"params": state, **lineage}
    elif to == "mmagic":
        content = {
            "meta": {},
            "state_dict": {f"generator.{name}": tensor for name, tensor in state.items()},
            **lineage,
        }
    else:
        content = dict(from_canonical(state, to))
    _save(content, out)
    return notes


def _check_complete(state: Mapping[str, Tensor], spec: Mapping[str, Any], path: Path) -> None:
    """A file that lacks a tensor would become another one that lacks it."""
    try:
        with torch.device("meta"):
            network = build_network(spec)
    except (InputError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: {error}") from error
    if difference := differences(network.state_dict(), state):
        raise InputError(f"{path}: the tensors are not those of {spec['architecture']}: {difference}")


def _check_holds(to: str, spec: Mapping[str, Any], path: Path) -> list[str]:
    """Refuses a network that the layout's readers would build otherwise; notes what they do not see."""
    arguments = spec["arguments"]
    if spec["architecture"] != "RRDBNet":
        raise InputError(
            f"{path} holds {spec['architecture']}, and {to} knows RRDB networks: --to safetensors"
        )
    beta = arguments.get("residual_scaling", 0.2)
    if beta != 0.2:
        raise InputError(
            f"{path} has residual scaling β = {beta}, no file of {to} can say so, and its readers take 0.2: "
            "the picture would be another; --to safetensors keeps it"
        )
    scale, folds = arguments["scale"], bool(arguments.get("unshuffle"))
    if to == "esrgan2018":
        if folds:
            raise InputError(
                f"{path} folds its input first (pixel-unshuffle, x{scale}), which the network of 2018 does "
                "not: --to basicsr or safetensors"
            )
        return (
            [f"x3 and x2 look alike in this layout: tell its reader scale {scale}"] if scale in (2, 3) else []
        )
    if scale in (1, 2, 4) and (scale == 4 or folds):
        return []
    return [
        f"{to}'s own network has two enlargements (x4, or x2 and x1 behind a pixel-unshuffle) and does not "
        f"load this one (x{scale}); others that count the conv_up do"
    ]


def _save(content: Mapping[str, Any], out: Path) -> None:
    try:
        with whole_file(out) as partial:
            torch.save(dict(content), partial)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
