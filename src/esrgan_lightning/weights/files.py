"""Reading files of weights that a stranger may have written: named tensors come out, nothing is run."""

import json
import mmap
import struct
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.formats import EXPORT, format_of
from esrgan_lightning.weights.state import first_few

# In a .ckpt the top-level key, in a .safetensors file the metadata key (as JSON) of
# {"spec": {"architecture": …, "arguments": {…}}, "provenance": {…}, "checksum": …}.
LINEAGE_KEY = "esrgan_lightning"
#: What a file may have at most. ESRGAN's has 67 MB and 702 tensors, its training checkpoint under 1 GB.
MAX_BYTES, MAX_TENSORS = 2**33, 100_000
#: Of a .safetensors file's header, as the format itself has it; and of the lineage as JSON.
MAX_HEADER, MAX_LINEAGE = 100_000_000, 10_000_000

EXPECTED = (
    "expected a generator: .safetensors or .ckpt of this library, or an RRDB network as .safetensors or .pth "
    "(keys conv_first, body.N.rdbM.convK, conv_body, conv_up1 …, conv_hr, conv_last, or the ESRGAN authors' "
    "layouts of 2018 and 2019, also below params_ema, state_dict, net_g and the like, or after module., "
    "_orig_mod., generator. or generator_ema.)"
)


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a file's content, and what the file says under ``LINEAGE_KEY`` ({} where it says nothing).

    Its first bytes tell the format, whatever its name ends in. What a file claims is held against its size
    before anything is believed: memory is used for what is there alone. A pickled file is checked against
    the checksums inside, which PyTorch's format before 1.6 does not have.

    Returns:
        The state dict of a safetensors file, or the object inside a pickled file; and the lineage.

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
    size = path.stat().st_size
    with path.open("rb") as raw:
        start = raw.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise InputError(f"its header claims {length} bytes, and the file has {size}")
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
    """The values as plain tensors on the CPU.

    Raises:
        InputError: Anything else than dense tensors that hold all of their values, or more of them than the
            file has bytes for.
    """
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
