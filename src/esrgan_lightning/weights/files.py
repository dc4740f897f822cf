"""Reading files of weights that a stranger may have written: named tensors come out, nothing is run."""

import json
import mmap
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.formats import EXPORT, format_of
from esrgan_lightning.weights.layouts import EXPECTED, layout_of, select_state, to_canonical
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.provenance import json_hash
from esrgan_lightning.weights.state import first_few, state_hash

# In a .ckpt the top-level key, in a .safetensors file the metadata key (as JSON) of
# {"spec": {"architecture": …, "arguments": {…}}, "provenance": {…}, "checksum": …}.
LINEAGE_KEY = "esrgan_lightning"
#: What a file may have at most. ESRGAN's has 67 MB and 702 tensors, its training checkpoint under 1 GB.
MAX_BYTES, MAX_TENSORS = 2**33, 100_000
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
    state = plain_tensors(selected, path)
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

    What a file claims is held against its size before anything is believed: memory is used for what is there
    alone. A pickled file is checked against the checksums inside, which PyTorch's format before 1.6 lacks.

    Raises:
        InputError: No such file, another format, or not readable as tensors and plain values.
    """
    read = _read_safetensors if format_of(path) == "safetensors" else _read_pickled
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path.stat().st_size} bytes, and at most {MAX_BYTES} are read")
        content, lineage = read(path)
        lineage = _plain(lineage)
    except Exception as error:  # a broken or hostile file fails in any of the readers' own ways
        lines = str(error).splitlines() or [""]
        remedy = "it may be cut short (get it again), or hold code, which is never run (ask for .safetensors)"
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{path}: not readable as weights: {remedy}; {kind}{lines[0]}") from error
    if not isinstance(content, Mapping) or not isinstance(lineage, Mapping):
        raise InputError(f"{path}: found a {type(content).__name__} inside; {EXPECTED}")
    return {str(key): value for key, value in content.items()}, dict(lineage)


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata, names = file.metadata() or {}, list(file.keys())
        if len(names) > MAX_TENSORS:
            raise InputError(f"{len(names)} tensors, and at most {MAX_TENSORS} are read")
        tensors = {name: file.get_tensor(name) for name in names}
    lineage = metadata.get(LINEAGE_KEY, "{}")
    if len(lineage) > MAX_LINEAGE:
        raise InputError(f"its metadata {LINEAGE_KEY} have {len(lineage)} characters")
    return tensors, json.loads(lineage)


class _StandIn:
    """For an object that others keep beside the tensors (options, figures): that itself is never made."""

    def __new__(cls, *_: object) -> "_StandIn":
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Nothing is kept."""


_ONE_AT_A_TIME = threading.Lock()  # what torch may load is a setting of the whole process


def _read_pickled(path: Path) -> tuple[Any, Any]:
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
        zipped = data[:4] == b"PK\3\4"
        # The one constructor that torch allows and that fills memory by a mere number.
        if data.find(b"bytearray") >= 0:
            raise InputError("it asks for a bytearray, which no file of weights does")
    if zipped:
        check_archive(path)
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    else:
        foreign = [
            "argparse.Namespace",
            "numpy.dtype",
            *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
        ]
    stand_ins: list[Any] = [(type("StandIn", (_StandIn,), {}), name) for name in foreign]
    with _ONE_AT_A_TIME, torch.serialization.safe_globals(stand_ins):
        content = torch.load(path, map_location="cpu", weights_only=True)
    return content, content.get(LINEAGE_KEY, {}) if isinstance(content, Mapping) else {}


def check_archive(path: Path) -> None:
    """Refuses what torch.save does not write: compressed or overlapping entries, wrong checksums."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise InputError(f"TorchScript, {EXPORT}")
        if len(entries) > 2 * MAX_TENSORS:
            raise InputError(f"{len(entries)} entries, and at most {2 * MAX_TENSORS} are read")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError("it is compressed, which files of weights are not")
        claimed, size = sum(entry.file_size for entry in entries), path.stat().st_size
        if claimed > size:
            raise InputError(f"its entries claim {claimed} bytes, and the file has {size}")
        # torch.load notices a file cut short, but neither a flipped bit nor a block of zeros.
        if (broken := archive.testzip()) is not None:
            raise InputError(f"damaged at {broken}")


def _plain(lineage: object) -> Any:
    """The lineage as plain values alone; one that refers to itself many times over would fill the memory."""
    text = []
    for size, part in enumerate(json.JSONEncoder().iterencode(lineage)):
        if size > MAX_LINEAGE // 8:
            raise InputError(f"what it says under {LINEAGE_KEY} is too long")
        text.append(part)
    return json.loads("".join(text))


def plain_tensors(state: Mapping[str, Any], source: Path) -> dict[str, Tensor]:
    """The values as dense tensors on the CPU that hold all of their values; InputError for anything else."""
    odd = [f"{name} ({type(value).__name__})" for name, value in state.items() if not _is_plain(value)]
    if odd or not state:
        raise InputError(f"{source}: found {first_few(odd) or 'nothing'} where tensors belong; {EXPECTED}")
    storages = (tensor.untyped_storage() for tensor in state.values())
    claimed, size = sum({each.data_ptr(): each.nbytes() for each in storages}.values()), source.stat().st_size
    if claimed > size:
        raise InputError(f"{source}: its tensors claim {claimed} bytes, and the file has {size}")
    return {name: tensor.detach() for name, tensor in state.items()}


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.layout is not torch.strided:
        return False
    # A few bytes repeated by stride 0 can claim any size.
    whole = value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    return whole and not value.is_quantized and not value.is_complex()


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half precision as float32; all else as it is."""
    return {
        name: tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
        for name, tensor in state.items()
    }
