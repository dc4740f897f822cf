"""Exports as files: which suffix is which format, and none without a check against PyTorch."""

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.export.archives import run_torchscript, write_program, write_torchscript
from esrgan_lightning.export.ncnn import run_ncnn, write_ncnn
from esrgan_lightning.export.onnx import write_onnx
from esrgan_lightning.inference.onnx_model import load_exported, onnx_packages
from esrgan_lightning.inference.traceable import Traceable, description
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops.files import whole_file, writing

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        ".onnx": "ONNX",
        ".pt2": "torch.export",
        ".ts": "TorchScript",
        ".torchscript": "TorchScript",
        ".param": "ncnn",
    }
)
# (B,h,w) that every export is compared on: odd, even, a single pixel, several images.
_SIZES = ((1, 17, 23), (1, 33, 48), (2, 8, 5), (1, 1, 1))
# By how much it may differ, as a share of the largest value or of 1: rounding, and nothing else.
_ALLOWED, _ALLOWED_HALF = 1e-4, 2e-2


class Exported(NamedTuple):
    """What has been written."""

    files: tuple[Path, ...]
    format: str
    difference: float | None  # the largest from PyTorch, as a share of the largest value or 1, if checked
    allowed: float


def export_generator(
    generator: nn.Module,
    path: Path,
    *,
    half: bool = False,
    opset: int = 18,
    check: bool = True,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Exported:
    """Writes a generator as a file that runs without this library; the suffix says in which format.

    Suffixes::

        .onnx             ONNX: batch, height and width free; input input, output output
        .pt2              torch.export: the same sizes free; each side longer than the fold
        .ts, .torchscript TorchScript, traced: the same sizes free
        .param            ncnn, with the weights in .bin beside it: input data, output output;
                          a network that folds pixels takes multiples of its fold alone

    All take and give float32 in [0,1], (B,C,h,w) → (B,C',s·h,s·w), ncnn without the batch. The file gets its
    name when it is whole and has been found equal to the generator on random images of odd and even sizes.

    Args:
        generator: With the attribute ``scale``; it is copied and left as it is.
        path: Where the file goes; missing folders are made.
        half: Weights and arithmetic in float16 (ncnn: weights); half as large, off by up to some 1/255.
        opset: Of ONNX.
        check: Run what was written and compare.
        overwrite: Replace files that are there.
        provenance: Plain values for the file's metadata; ncnn has none.

    Raises:
        InputError: Another suffix, a file that is there or cannot be written, a missing extra, a network that
            the format cannot hold, or a result that differs from the generator's.
    """
    kind = SUFFIXES.get(path.suffix)
    if kind is None:
        remedy = (
            "`esrgan convert` writes weights for other upscalers"
            if path.suffix in (".safetensors", ".pth")
            else f"an export ends in {', '.join(SUFFIXES)}"
        )
        raise InputError(f"{path}: {remedy}")
    if conditions_of(generator):
        raise InputError(
            f"{type(generator).__name__} takes maps beside the image: exports have one input alone"
        )
    names = [path.name] if kind != "ncnn" else [path.with_suffix(".bin").name, path.name]
    for name in names:
        if path.with_name(name).exists() and not overwrite:
            raise InputError(f"{path.with_name(name)} exists: --overwrite replaces it")
    if kind == "ONNX":
        onnx_packages()
    net = copy.deepcopy(generator).to("cpu", torch.float32).eval()
    about = description(net, dict(provenance or {}))
    allowed = _ALLOWED_HALF if half else _ALLOWED
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            partial = Path(folder) / path.name
            _write(net, partial, kind, half=half, opset=opset, about=about)
            difference = _difference(net, partial, kind, about) if check else None
            if difference is not None and not difference <= allowed:  # NaN fails too
                remedy = "export it without --half" if half else "another format may hold it"
                raise InputError(
                    f"{path} is not written: {difference:.2g} from PyTorch, {allowed:g} allowed: {remedy}"
                )
            for name in names:
                with whole_file(path.with_name(name)) as whole:
                    partial.with_name(name).replace(whole)
    return Exported(tuple(path.with_name(name) for name in reversed(names)), kind, difference, allowed)


def _write(net: nn.Module, path: Path, kind: str, *, half: bool, opset: int, about: dict[str, Any]) -> None:
    if kind == "ncnn":
        write_ncnn(net, path, half=half, channels=about["in_channels"])
        return
    network = Traceable(copy.deepcopy(net), half=half).eval()
    if kind == "ONNX":
        write_onnx(network, path, opset=opset, about=about)
    elif kind == "torch.export":
        write_program(network, path, about=about)
    else:
        write_torchscript(network, path, about=about)


@torch.no_grad()
def _difference(net: nn.Module, path: Path, kind: str, about: dict[str, Any]) -> float:
    """The largest difference between a file's pictures and the network's, as ``Exported`` has it."""
    readers: dict[str, Callable[[Path], Callable[[Tensor], Tensor]]] = {
        "ONNX": load_exported,
        "torch.export": lambda path: torch.export.load(path).module(),
        "TorchScript": run_torchscript,
        "ncnn": lambda path: run_ncnn(path, net),
    }
    run = readers[kind](path)
    random, largest = torch.Generator().manual_seed(0), 0.0
    for batch, height, width in _SIZES:
        if kind == "torch.export" and min(height, width) <= about["fold"] > 1:
            continue
        x = torch.rand(batch, about["in_channels"], height, width, generator=random)
        expected, found = net(x), run(x)
        if found.shape != expected.shape:
            raise InputError(f"the export makes {tuple(found.shape)} of {tuple(x.shape)}: {path.name}")
        difference = (found - expected).abs().max() / expected.abs().max().clamp(min=1)
        largest = max(largest, float(difference)) if difference.isfinite() else float("nan")
    return largest
