"""Network interpolation: between fidelity and perceptual quality without training."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.checkpoint import (
    different_settings,
    read_generator_file,
    resolve_spec,
    write_generator_file,
)
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.state import differences, state_hash


def interpolate(a: Mapping[str, Tensor], b: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """θ = (1−α)·θ_a + α·θ_b over all parameters and floating buffers (ESRGAN §3.4).

    Computed in float32 at least, returned in the wider type of the two. Counters (num_batches_tracked) are
    b's. ``a`` and ``b`` are state dicts; α = 0 is exactly a, 1 exactly b.

    Raises:
        InputError: α outside [0,1], or names or shapes that differ.

    >>> interpolate({"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}, 0.25)
    {'w': tensor([1.])}
    """
    check_alpha(alpha)
    if difference := differences(a, b):
        raise InputError(f"the second network is not of the same kind as the first: {difference}")
    return {name: _between(a[name], b[name], alpha) for name in a}


def check_alpha(alpha: float) -> None:
    """Raises InputError where α is outside [0,1]."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha={alpha} must lie from 0 (the first network) to 1 (the second)")


def _between(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    if not (a.is_floating_point() and b.is_floating_point()):
        return b.clone()
    result = torch.promote_types(a.dtype, b.dtype)
    dtype = torch.promote_types(result, torch.float32)
    return ((1 - alpha) * a.to(dtype) + alpha * b.to(dtype)).to(result)


def blend(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """θ = Σ_i w_i·θ_i over several networks; :func:`interpolate` is the case of two.

    Args:
        states: State dicts of two or more networks of one kind.
        weights: w_i, from 0 to 1 each, 1 together.

    Raises:
        InputError: Other weights, or networks that differ in names or shapes.
    """
    shown = ", ".join(f"{weight:g}" for weight in weights)
    if len(weights) != len(states) or len(states) < 2:
        raise InputError(
            f"{len(states)} networks and {len(weights)} weights ({shown}): give one for each, of two or more"
        )
    if not all(0 <= weight <= 1 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        raise InputError(
            f"weights {shown}: each lies from 0 to 1, and together they are 1, not {sum(weights):g}"
        )
    if len(states) == 2:
        return interpolate(states[0], states[1], weights[1])
    result, total = dict(states[0]), weights[0]
    for state, weight in zip(states[1:], weights[1:], strict=True):
        total += weight
        # The next network, and the mean of those before it.
        result = interpolate(result, state, min(1.0, weight / total) if total > 0 else 0.0)
    return result


def blend_files(
    paths: Sequence[str | Path], weights: Sequence[float], out: str | Path, *, scale: int | None = None
) -> dict[str, Any]:
    """Blends several generators' files, or models by name, into a .safetensors file.

    Args:
        paths: Of any layout that ``read_generator_file`` knows.
        weights: As in :func:`blend`.
        out: Ends in .safetensors.
        scale: For foreign files whose scale cannot be told.

    Returns:
        The provenance written: ``{"interpolation": {"weights": [w_1, …], "parents": [{"file": name,
        "sha256": of its tensors, "metadata": its own provenance}, …]}}``, for two files with ``"alpha"``.

    Raises:
        InputError: As :func:`blend`; files that cannot be read.
    """
    files = [model_path(path) for path in paths]
    states, spec, parents = load_compatible(files, scale=scale)
    try:
        state = blend(states, weights)
    except InputError as error:
        raise InputError(f"{', '.join(map(str, files))}: {error}") from error
    record: dict[str, Any] = {"weights": list(weights)} if len(files) != 2 else {"alpha": weights[1]}
    provenance = {"interpolation": record | {"parents": parents}}
    write_generator_file(out, state, spec, provenance)
    return provenance


def interpolate_files(
    path_a: str | Path, path_b: str | Path, alpha: float, out: str | Path, *, scale: int | None = None
) -> dict[str, Any]:
    """Interpolates two generators' files: :func:`blend_files` with the weights 1 − α and α in [0,1]."""
    check_alpha(alpha)
    return blend_files([path_a, path_b], [1 - alpha, alpha], out, scale=scale)


def load_compatible(
    paths: Sequence[Path], *, scale: int | None = None
) -> tuple[list[dict[str, Tensor]], dict[str, Any], list[dict[str, Any]]]:
    """Generators of one network: state dicts, the spec of them all, a record of each for provenance."""
    files = [read_generator_file(path) for path in paths]
    # A foreign file states no scale or residual scaling: its partner's spec then speaks for both.
    stated = [(path, file.spec) for path, file in zip(paths, files, strict=True) if file.spec is not None]
    for path, spec in stated[1:]:
        if different := different_settings(stated[0][1], spec):
            raise InputError(f"{path} does not fit {stated[0][0]}: {different}")
    for path, file in zip(paths[1:], files[1:], strict=True):
        if difference := differences(files[0].state, file.state):
            raise InputError(f"{path} is not of the same kind as {paths[0]}: {difference}")
    spec = resolve_spec(files[0].state, stated[0][1] if stated else None, scale=scale, source=paths[0])
    parents = [
        {"file": path.name, "sha256": state_hash(file.state), "metadata": file.metadata}
        for path, file in zip(paths, files, strict=True)
    ]
    return [file.state for file in files], spec, parents


def ancestry_warning(psnr: Mapping[str, Any], gan: Mapping[str, Any]) -> str | None:
    """A sentence where the second network was not trained from the first, as interpolation presumes.

    What lies between networks of different starts is worse than both (ESRGAN §3.4 interpolates a GAN with the
    PSNR network that it was fine-tuned from). None where it was, or where either is a blend itself.

    Args:
        psnr: Record of the first: ``{"file", "sha256", "metadata"}``, as :func:`load_compatible` gives it.
        gan: Of the second; its provenance names what its training began from, and that one's what before.
    """
    if any("interpolation" in each["metadata"] for each in (psnr, gan)) or psnr["sha256"] == gan["sha256"]:
        return None
    if "init" not in gan["metadata"]:
        return (
            f"{gan['file']} does not say what it was trained from: blends are good only where it began as "
            f"{psnr['file']}"
        )
    chain = list(ancestors(gan["metadata"]))
    if psnr["sha256"] in (each.get("sha256") for each in chain):
        return None
    began = f"but from {chain[0].get('file')}" if chain else "but from random weights"
    return (
        f"{gan['file']} was not trained from {psnr['file']}, {began}: expect blends that are worse than both"
    )


def ancestors(metadata: object) -> Iterator[Mapping[str, Any]]:
    """What a training began from, and so on; a file may say anything here."""
    while isinstance(metadata, Mapping) and isinstance(origin := metadata.get("init"), Mapping):
        yield origin
        metadata = origin.get("metadata")
