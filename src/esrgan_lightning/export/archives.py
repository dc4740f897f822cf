"""Generators as archives of PyTorch: ``torch.export`` and TorchScript."""

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from esrgan_lightning.inference.traceable import EXAMPLE, Traceable
from esrgan_lightning.weights import LINEAGE_KEY

# The name under which an archive carries its description, as JSON.
DESCRIPTION = f"{LINEAGE_KEY}.json"


def export_program(network: Traceable, channels: int) -> ExportedProgram:
    """The network's graph with free batch, height and width."""
    batch, height, width = EXAMPLE
    example = torch.zeros(batch, channels, height, width)
    free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    with torch.no_grad():
        return torch.export.export(network, (example,), dynamic_shapes=(free,), strict=False)


def write_program(network: Traceable, path: Path, *, about: dict[str, Any]) -> None:
    """Writes a .pt2 archive: ``torch.export.load(path).module()`` runs it, without this library."""
    program = export_program(network, about["in_channels"])
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    torch.export.save(program, path, extra_files={DESCRIPTION: json.dumps(about, sort_keys=True)})


def write_torchscript(network: Traceable, path: Path, *, about: dict[str, Any]) -> None:
    """Writes a TorchScript archive: ``torch.jit.load(path)`` runs it, here and in LibTorch."""
    whole = path.with_name("whole.zip")
    batch, height, width = EXAMPLE
    example = torch.zeros(batch, about["in_channels"], height, width)
    write_traced(network, example, whole, {DESCRIPTION: json.dumps(about, sort_keys=True)})
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if not name.endswith(".debug_pkl"):  # lines of source with paths of this machine
                target.writestr(name, source.read(name))


def write_traced(network: nn.Module, example: Tensor, path: Path, extra: dict[str, str]) -> None:
    """Writes TorchScript as PyTorch does it; ``extra``: names → texts that the archive carries."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit is deprecated: LibTorch and pnnx read it
        traced = torch.jit.trace(network, (example,), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files=extra)


def run_torchscript(path: Path) -> Any:
    """The function inside a TorchScript archive of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path))  # type: ignore[no-untyped-call]
