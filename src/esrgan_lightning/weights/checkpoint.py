"""Files of generators: written with spec and provenance, read with care."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import build_network, network_spec
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.weights.files import LINEAGE_KEY, checksum, read_contents, widened
from esrgan_lightning.weights.layouts import infer_spec, possible_scales
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.state import differences, require_finite, state_hash


class GeneratorFile(NamedTuple):
    """What a file of weights holds: ``state, spec, metadata = read_generator_file(path)``."""

    state: dict[str, Tensor]  # BasicSR's keys, on the CPU, half precision widened to float32
    spec: dict[str, Any] | None  # {"architecture", "arguments"} where the file states it
    metadata: dict[str, Any]  # the provenance; {} where the file states none


def save_generator(
    path: str | Path, generator: nn.Module, *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Writes a generator as .safetensors, with its spec and provenance, whole or not at all.

    Args:
        path: Ends in .safetensors; missing folders are made, an existing file is replaced.
        generator: On any device, in any memory format.
        metadata: Provenance: names → plain values that JSON can hold.
    """
    generator = getattr(generator, "_orig_mod", generator)  # torch.compile's wrapping renames all keys
    write_generator_file(path, generator.state_dict(), network_spec(generator), metadata or {})


def write_generator_file(
    path: str | Path, state: Mapping[str, Tensor], spec: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Writes a generator's state dict, spec and provenance as :func:`save_generator` does."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: generators are written as .safetensors: give a name with that ending")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    # As a reader will see it: JSON turns tuples into lists.
    lineage = json.loads(json.dumps({"spec": dict(spec), "provenance": dict(provenance)}))
    lineage["checksum"] = checksum(tensors, lineage["spec"], lineage["provenance"])
    # One entry of metadata alone: several come in random order, and equal networks would differ in bytes.
    # Not by save_file: that makes a file which no one else may read.
    data = save(tensors, metadata={LINEAGE_KEY: json.dumps(lineage, sort_keys=True)})
    write_whole(path, data)


def read_generator_file(path: str | Path) -> GeneratorFile:
    """Reads a generator's tensors, spec and provenance from any of the files that this library knows.

    .safetensors of :func:`save_generator`; .ckpt of a training run; RRDB networks of BasicSR, Real-ESRGAN,
    mmagic and the ESRGAN authors as .safetensors or .pth, which state no spec: ``infer_spec`` tells it from
    the shapes. Averaged weights are preferred. Nothing in a file is run.

    Raises:
        InputError: Not a readable file of tensors.
    """
    contents = read_contents(path)
    return GeneratorFile(widened(contents.state), contents.spec, contents.provenance)


def load_generator(
    path: str | Path, *, device: str | torch.device = "cpu", scale: int | None = None
) -> nn.Module:
    """Rebuilds a generator from its file alone, in eval mode, weights in float32.

    Args:
        path: A file that :func:`read_generator_file` knows, or a name of :func:`model_path`.
        device: Where the generator goes.
        scale: For foreign files whose scale cannot be told (one conv_up); checked against all others.

    Raises:
        InputError: Not a generator, or one that this library does not have.
    """
    path = model_path(path)
    state, spec, _ = read_generator_file(path)
    generator = empty_network(state, resolve_spec(state, spec, scale=scale, source=path), path)
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    generator.load_state_dict(state, assign=True)
    return generator.to(device).eval()


def empty_network(state: Mapping[str, Tensor], spec: Mapping[str, Any], source: object) -> nn.Module:
    """The network of a file, on the meta device; InputError where ``state`` does not fit."""
    require_finite(state, source)
    try:
        with torch.device("meta"):
            network = build_network(spec)
    except (InputError, RuntimeError, TypeError) as error:  # sizes too large, values of another type
        raise InputError(f"{source}: {error}") from error
    if difference := differences(network.state_dict(), state):
        raise InputError(f"{source}: the tensors are not those of {spec['architecture']}: {difference}")
    return network


def resolve_spec(
    state: Mapping[str, Tensor], spec: Mapping[str, Any] | None, *, scale: int | None = None, source: object
) -> dict[str, Any]:
    """The file's own spec, checked against ``scale``, or the one that the shapes tell."""
    if spec is None:
        return infer_spec(state, scale=scale, source=source)
    stated, blocks = spec["arguments"].get("scale"), spec["arguments"].get("num_blocks")
    if scale is not None and stated != scale:
        raise InputError(f"{source}: scale={scale} was asked for and the file holds scale {stated}")
    # Before a million blocks are built for a stranger's file.
    if isinstance(blocks, int) and blocks > len(state):
        raise InputError(f"{source}: states {blocks} blocks and holds {len(state)} tensors: it is damaged")
    return dict(spec)


def load_state(generator: nn.Module, path: str | Path) -> dict[str, Any]:
    """Loads a file's weights into a generator: all of them, or none and an error.

    Returns:
        The lineage, plain values: ``{"file": name, "sha256": of the tensors, "metadata": its provenance}``.

    Raises:
        InputError: Other names or shapes, or a spec that differs in more than initialisation.
    """
    path = model_path(path)
    state, spec, metadata = read_generator_file(path)
    own = network_spec(generator)
    remedy = "build the generator with the file's settings, or choose the file that fits"
    if spec is not None and (different := different_settings(own, spec)):
        raise InputError(f"{path} does not fit the generator: {different}; {remedy}")
    if difference := differences(generator.state_dict(), state):
        raise InputError(f"{path} does not fit {own['architecture']}: {difference}; {remedy}")
    require_finite(state, path)
    generator.load_state_dict(state)
    return {"file": path.name, "sha256": state_hash(state), "metadata": metadata}


def different_settings(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """How two specs differ in what the network computes, which initialisation is not; empty where they agree.

    Residual scaling, or ×2 against ×3, shows in no shape: weights would load and give a wrong image.
    """
    if expected["architecture"] != found["architecture"]:
        return f"it holds {found['architecture']} instead of {expected['architecture']}"
    ours, theirs = expected["arguments"], found["arguments"]
    return ", ".join(
        f"{name} is {theirs[name]} instead of {ours[name]}"
        for name in ours
        if name in theirs and theirs[name] != ours[name] and not name.startswith("init_")
    )


#: What the ``layout`` of :func:`describe_file` means.
LAYOUT_NAMES = {
    "basicsr": "BasicSR's (conv_first, body.N.rdbM.convK, …)",
    "esrgan2018": "ESRGAN's first release, 2018 (model.N)",
    "esrgan2019": "ESRGAN's release of 2019 (RRDB_trunk)",
    "own": "the network's own names",
}


def describe_file(path: str | Path, *, scale: int | None = None) -> dict[str, Any]:
    """Layout, network, size and provenance of a generator's file, as plain values.

    Args:
        path: Any file that :func:`read_generator_file` knows.
        scale: For foreign files whose scale cannot be told; without it that is ``"2 or 3"``.

    Returns:
        ``{"file", "bytes", "layout", "within", "dtypes", "parameters", "sha256", "architecture",
        "arguments", "stated", "updates", "provenance"}``; ``layout`` is a key of ``LAYOUT_NAMES``; ``stated``
        is false where the shapes have told the network; ``sha256`` is of the float32 tensors.

    Raises:
        InputError: Not a generator's file, or one that :func:`load_generator` refuses.
    """
    path = model_path(path)
    contents = read_contents(path)
    state, stated = contents.state, contents.spec is not None
    two_scales = scale is None and not stated and possible_scales(state) == (2, 3)
    spec = resolve_spec(state, contents.spec, scale=2 if two_scales else scale, source=path)
    empty_network(state, spec, path)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        # The layouts are names of RRDBNet's tensors.
        "layout": contents.layout if spec["architecture"] == "RRDBNet" else "own",
        "within": contents.within,
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()}),
        "parameters": sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point()),
        "sha256": state_hash(widened(state)),
        "updates": contents.updates,
        "provenance": contents.provenance,
        "stated": stated,
        "architecture": spec["architecture"],
        "arguments": dict(spec["arguments"]) | ({"scale": "2 or 3"} if two_scales else {}),
    }
