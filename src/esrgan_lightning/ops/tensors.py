"""Files of tensors that a stranger may have written: what is inside comes out, and nothing is run."""

import mmap
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from esrgan_lightning.errors import InputError, first_few, first_line
from esrgan_lightning.ops.formats import EXPORT, format_of

#: What a file may have at most. ESRGAN's has 67 MB and 702 tensors, its training checkpoint under 1 GB.
MAX_BYTES, MAX_TENSORS = 2**33, 100_000


def read_stored(path: Path) -> tuple[Any, dict[str, str]]:
    """What lies in a file, tensors on the CPU, and the metadata of a safetensors file ({} for a pickle's).

    What a file claims is held against its size before anything is believed: memory is used for what is there
    alone. A pickled file is checked against the checksums inside, which PyTorch's format before 1.6 lacks.

    Raises:
        InputError: No such file, another format, or not readable as tensors and plain values.
    """
    read = _read_safetensors if format_of(path) == "safetensors" else _read_pickled
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path.stat().st_size} bytes, and at most {MAX_BYTES} are read")
        return read(path)
    except Exception as error:  # a broken or hostile file fails in any of the readers' own ways
        remedy = "it may be cut short (get it again), or hold code, which is never run (ask for .safetensors)"
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{path}: not readable as weights: {remedy}; {kind}{first_line(error)}") from error


def _read_safetensors(path: Path) -> tuple[Any, dict[str, str]]:
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata, names = file.metadata() or {}, list(file.keys())
        if len(names) > MAX_TENSORS:
            raise InputError(f"{len(names)} tensors, and at most {MAX_TENSORS} are read")
        return {name: file.get_tensor(name) for name in names}, metadata


class _StandIn:
    """For an object that others keep beside the tensors (options, figures): that itself is never made."""

    def __new__(cls, *_: object) -> "_StandIn":
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Nothing is kept."""


_ONE_AT_A_TIME = threading.Lock()  # what torch may load is a setting of the whole process


def _read_pickled(path: Path) -> tuple[Any, dict[str, str]]:
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
        return torch.load(path, map_location="cpu", weights_only=True), {}


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


def plain_tensors(state: Mapping[Any, Any], source: Path, *, expected: str) -> dict[str, Tensor]:
    """The values as dense tensors on the CPU that hold all of their values; InputError for anything else."""
    odd = [f"{name} ({type(value).__name__})" for name, value in state.items() if not _is_plain(value)]
    if odd or not state:
        raise InputError(f"{source}: found {first_few(odd) or 'nothing'} where tensors belong; {expected}")
    storages = (tensor.untyped_storage() for tensor in state.values())
    claimed, size = sum({each.data_ptr(): each.nbytes() for each in storages}.values()), source.stat().st_size
    if claimed > size:
        raise InputError(f"{source}: its tensors claim {claimed} bytes, and the file has {size}")
    return {str(name): tensor.detach() for name, tensor in state.items()}


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.layout is not torch.strided:
        return False
    # A few bytes repeated by stride 0 can claim any size.
    whole = value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    return whole and not value.is_quantized and not value.is_complex()
