"""What a file of weights holds, as it lies there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.files import LINEAGE_KEY, plain_tensors, read_file
from esrgan_lightning.weights.layouts import layout_of, select_state, to_canonical, where
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.provenance import json_hash
from esrgan_lightning.weights.state import state_hash


class Contents(NamedTuple):
    """What a file of weights holds, as it lies there."""

    state: dict[str, Tensor]  # today's keys, on the CPU, in the file's own types
    spec: dict[str, Any] | None
    provenance: dict[str, Any]
    layout: str  # of the names: today, esrgan2018, esrgan2019
    within: str  # where in the file the tensors are, as "params_ema"; empty at the top
    updates: int | None  # that a training run had done


def read_contents(path: str | Path) -> Contents:
    """Reads a file as :func:`read_generator_file` does, and tells how it is laid out.

    Raises:
        InputError: Not a readable file of tensors.
    """
    path = model_path(path)
    content, lineage = read_file(path)
    spec, provenance = lineage.get("spec"), lineage.get("provenance", {})
    if (spec is not None and not _is_spec(spec)) or not isinstance(provenance, Mapping):
        raise InputError(f"{path}: what it says under {LINEAGE_KEY!r} is not a spec: it is damaged")
    tensors = {name: value for name, value in content.items() if name != LINEAGE_KEY}
    own = spec is not None and LINEAGE_KEY not in content  # .safetensors have it beside the tensors
    state = plain_tensors(tensors if own else select_state(tensors), path)
    if own and lineage.get("checksum") not in (None, checksum(state, spec, provenance)):
        raise InputError(
            f"{path}: the checksum inside is not that of its tensors and settings: it was damaged or changed "
            "after it was written; get it again"
        )
    step = content.get("global_step", provenance.get("updates"))
    return Contents(
        to_canonical(state),
        None if spec is None else dict(spec),
        dict(provenance),
        layout_of(state),
        "" if own else where(tensors),
        step if isinstance(step, int) else None,
    )


def checksum(state: Mapping[str, Tensor], spec: Any, provenance: Mapping[str, Any]) -> str:
    """The sha256 of all that a .safetensors file of this library says; the format itself has none."""
    return json_hash({"tensors": state_hash(state), "spec": spec, "provenance": provenance})


def _is_spec(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("architecture"), str)
        and isinstance(value.get("arguments"), Mapping)
    )
