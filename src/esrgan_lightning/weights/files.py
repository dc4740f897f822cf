"""Reading files of weights that a stranger may have written: named tensors come out, nothing is run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.state import first_few

# In a .ckpt the top-level key, in a .safetensors file the metadata key (as JSON) of
# {"spec": {"architecture": …, "arguments": {…}}, "provenance": {…}}.
LINEAGE_KEY = "esrgan_lightning"
MAX_HEADER = 2**24  # bytes: names and shapes of a hundred thousand tensors
PICKLED = (".ckpt", ".pth", ".pt")
EXPECTED = (
    "expected a generator: .safetensors or .ckpt of this library, or an RRDB network as .safetensors or .pth "
    "(keys conv_first, body.N.rdbM.convK, conv_body, conv_up1 …, conv_hr, conv_last, as of BasicSR, "
    "Real-ESRGAN and mmagic, or the ESRGAN authors' layouts of 2018 and 2019)"
)


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a file's content, and what the file says under ``LINEAGE_KEY`` ({} where it says nothing).

    Returns:
        The state dict of a .safetensors file, or the object inside a pickled file; and the lineage.

    Raises:
        InputError: No such file, another ending, or not readable as tensors and plain values.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of weights inside it")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix not in (".safetensors", *PICKLED):
        raise InputError(f"{path}: expected a file ending in .safetensors, {', '.join(PICKLED)}")
    _check_size(path)
    try:
        content, lineage = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
        lineage = json.loads(json.dumps(lineage))  # plain values alone
    except Exception as error:  # a broken or hostile file fails in any of the readers' own ways
        lines = str(error).splitlines() or [""]
        remedy = "it may be cut short (get it again), or hold code, which is never run (ask for .safetensors)"
        raise InputError(
            f"{path}: not readable as weights: {remedy}; {type(error).__name__}: {lines[0]}"
        ) from error
    if not isinstance(content, Mapping) or not isinstance(lineage, Mapping):
        raise InputError(f"{path}: found a {type(content).__name__} inside; {EXPECTED}")
    return {str(key): value for key, value in content.items()}, dict(lineage)


def _check_size(path: Path) -> None:
    """Refuses what would unfold in memory, before anything is unfolded."""
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(MAX_HEADER, path.stat().st_size - 8):
            raise InputError(
                f"{path}: not readable as weights: it may be cut short (get it again): its header is said to "
                f"have {header} bytes, and the file has {path.stat().st_size}"
            )
    elif is_zipfile(path):
        try:
            with ZipFile(path) as archive:
                unfolded = sum(entry.file_size for entry in archive.infolist())
        except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"{path}: not readable as weights: it may be cut short (get it again): {error}"
            ) from error
        if unfolded > path.stat().st_size:  # torch.save compresses nothing
            raise InputError(
                f"{path}: {path.stat().st_size} bytes that unfold to {unfolded}: weights are not compressed"
            )


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    return tensors, json.loads(metadata.get(LINEAGE_KEY, "{}"))


def _read_pickled(path: Path) -> tuple[Any, Any]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    return content, content.get(LINEAGE_KEY, {}) if isinstance(content, Mapping) else {}


def plain_tensors(state: Mapping[str, Any], source: object) -> dict[str, Tensor]:
    """The values as plain tensors on the CPU, of the types that they have.

    Raises:
        InputError: Anything else than dense tensors that hold all of their values.
    """
    odd = [f"{name} ({type(value).__name__})" for name, value in state.items() if not _is_plain(value)]
    if odd or not state:
        raise InputError(f"{source}: found {first_few(odd) or 'nothing'} where tensors belong; {EXPECTED}")
    return {name: tensor.detach() for name, tensor in state.items()}


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half precision as float32; everything else as it is."""
    return {
        name: tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
        for name, tensor in state.items()
    }


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.layout is not torch.strided:
        return False
    # A few bytes repeated by stride 0 can claim any size.
    whole = value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    return whole and not value.is_quantized and not value.is_complex()
