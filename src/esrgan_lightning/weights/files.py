"""Reading files of weights that a stranger may have written: named tensors come out, nothing is run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.tensors import plain_tensors, read_stored
from esrgan_lightning.weights.layouts import EXPECTED, layout_of, select_state, to_canonical
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.provenance import json_hash
from esrgan_lightning.weights.state import state_hash

# In a .ckpt the top-level key, in a .safetensors file the metadata key (as JSON) of
# {"spec": {"architecture": …, "arguments": {…}}, "provenance": {…}, "checksum": …}.
LINEAGE_KEY = "esrgan_lightning"
#: Characters of the lineage as JSON.
MAX_LINEAGE = 10_000_000


class Contents(NamedTuple):
    """What a file of weights holds, as it lies there."""

    state: dict[str, Tensor]  # BasicSR's keys, on the CPU, in the file's own types
    spec: dict[str, Any] | None
    provenance: dict[str, Any]
    layout: str  # of the names: basicsr, esrgan2018, esrgan2019
    within: str  # where in the file the tensors are, as "params_ema"; empty at the top
    updates: int | None  # that a training run had done


def read_contents(path: str | Path) -> Contents:
    """Reads a file as :func:`read_generator_file` does, and tells how it is laid out."""
    path = model_path(path)
    content, lineage = read_file(path)
    spec, provenance = lineage.get("spec"), lineage.get("provenance", {})
    if (spec is not None and not _is_spec(spec)) or not isinstance(provenance, Mapping):
        raise InputError(f"{path}: what it says under {LINEAGE_KEY!r} is not a spec: it is damaged")
    tensors = {name: value for name, value in content.items() if name != LINEAGE_KEY}
    own = spec is not None and LINEAGE_KEY not in content  # .safetensors have it beside the tensors
    selected, within = (tensors, "") if own else select_state(tensors)
    state = plain_tensors(selected, path, expected=EXPECTED)
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
        within,
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


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state dict of a safetensors file, or the object in a pickled one, and its lineage ({} for none).

    Raises:
        InputError: As :func:`~esrgan_lightning.ops.tensors.read_stored`, or no map inside.
    """
    content, metadata = read_stored(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: found a {type(content).__name__} inside; {EXPECTED}")
    try:
        if len(text := metadata.get(LINEAGE_KEY, "{}")) > MAX_LINEAGE:
            raise ValueError(f"{len(text)} characters are too many")
        lineage = _plain(content[LINEAGE_KEY] if LINEAGE_KEY in content else json.loads(text))
        if not isinstance(lineage, Mapping):
            raise TypeError(f"found {type(lineage).__name__}, expected a map")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: not readable as weights: what it says under {LINEAGE_KEY!r}: {error}"
        ) from error
    return {str(key): value for key, value in content.items()}, dict(lineage)


def _plain(lineage: object) -> Any:
    """The lineage as plain values alone; one that refers to itself many times over would fill the memory."""
    text = []
    for size, part in enumerate(json.JSONEncoder().iterencode(lineage)):
        if size > MAX_LINEAGE // 8:
            raise ValueError("it is too long")
        text.append(part)
    return json.loads("".join(text))


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half precision as float32; all else as it is."""
    return {
        name: tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
        for name, tensor in state.items()
    }
