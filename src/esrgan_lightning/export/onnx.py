"""Generators as ONNX files."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.export.archives import export_program
from esrgan_lightning.inference.traceable import Traceable
from esrgan_lightning.weights import LINEAGE_KEY

OPSETS = range(18, 24)  # those that torch's exporter writes of itself, not by converting


def write_onnx(network: Traceable, path: Path, *, opset: int, about: dict[str, Any]) -> None:
    """Writes a network as ONNX with free batch, height and width.

    The input is called ``input``, (batch, C, height, width), the output ``output``; both are float32. What
    :func:`~esrgan_lightning.inference.traceable.description` says stands in the file's metadata, the lineage
    as JSON under ``esrgan_lightning``.

    Raises:
        InputError: An opset that is not written, or the extra ``onnx`` is not installed.
    """
    if opset not in OPSETS:
        raise InputError(f"--opset {opset}: from {OPSETS[0]} to {OPSETS[-1]} are written")
    program = export_program(network, about["in_channels"])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=opset,
            input_names=["input"],
            output_names=["output"],
            verbose=False,
        )
    assert exported is not None
    path.write_bytes(_tidied(exported.model_proto, about).SerializeToString())


def _tidied(model: Any, about: dict[str, Any]) -> Any:
    """Names for the free sizes, metadata, and nothing of the place where it was written."""
    graph, scale = model.graph, about["scale"]
    _name_sizes(graph.input[0], "batch", "height", "width")
    times = f"{scale}*" if scale != 1 else ""
    _name_sizes(graph.output[0], "batch", f"{times}height", f"{times}width")
    del graph.value_info[:]  # sizes under the exporter's own names; every reader infers them anew
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]  # among them stack traces with paths
        part.ClearField("doc_string")
    texts = {key: str(value) for key, value in about.items() if key != "lineage"}
    texts[LINEAGE_KEY] = json.dumps(about["lineage"], sort_keys=True)
    for key, text in texts.items():
        model.metadata_props.add(key=key, value=text)
    return model


def _name_sizes(value: Any, batch: str, height: str, width: str) -> None:
    sizes = value.type.tensor_type.shape.dim
    for axis, name in ((0, batch), (2, height), (3, width)):
        sizes[axis].dim_param = name
