"""What a file of weights is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.checkpoint import empty_network, resolve_spec
from esrgan_lightning.weights.files import read_contents, widened
from esrgan_lightning.weights.layouts import possible_scales
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.state import state_hash

LAYOUT_NAMES = {
    "today": "today's (conv_first, body.N.rdbM.convK, …)",
    "esrgan2018": "ESRGAN's first release, 2018 (model.N)",
    "esrgan2019": "ESRGAN's release of 2019 (RRDB_trunk)",
    "own": "the network's own names",
}


def describe_file(path: str | Path, *, scale: int | None = None) -> dict[str, Any]:
    """Layout, network, size and provenance of a generator's file, as plain values.

    Args:
        path: Any file that ``read_generator_file`` knows.
        scale: For foreign files whose scale cannot be told; without it they are described as far as they go.

    Returns:
        ``{"file", "bytes", "layout", "within", "dtypes", "parameters", "sha256", "architecture",
        "arguments", "stated", "updates", "provenance"}``; ``layout`` is a key of ``LAYOUT_NAMES``; ``stated``
        says whether the file itself tells what network it is, else the shapes have told it; ``sha256`` is of
        the float32 tensors, as in provenance.

    Raises:
        InputError: Not a generator's file, or one that ``load_generator`` refuses.
    """
    path = model_path(path)
    contents = read_contents(path)
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in contents.state.values()})
    described: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "layout": contents.layout,
        "within": contents.within,
        "dtypes": dtypes,
        "parameters": sum(tensor.numel() for tensor in contents.state.values() if tensor.is_floating_point()),
        "sha256": state_hash(widened(contents.state)),
        "updates": contents.updates,
        "provenance": contents.provenance,
        "stated": contents.spec is not None,
    }
    open_scale: dict[str, Any] = {}
    try:
        spec: Mapping[str, Any] = resolve_spec(contents.state, contents.spec, scale=scale, source=path)
    except InputError:
        if scale is not None or possible_scales(contents.state) != (2, 3):
            raise
        spec = resolve_spec(contents.state, None, scale=2, source=path)
        open_scale["scale"] = "2 or 3"
    empty_network(contents.state, spec, path)
    if spec["architecture"] != "RRDBNet":
        described["layout"] = "own"  # the layouts are names of RRDBNet's tensors
    return described | {
        "architecture": spec["architecture"],
        "arguments": dict(spec["arguments"]) | open_scale,
    }
