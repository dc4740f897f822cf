"""Network interpolation: between fidelity and perceptual quality without training."""

from collections.abc import Mapping
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
from esrgan_lightning.weights.state import differences, state_hash


def interpolate(a: Mapping[str, Tensor], b: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """θ = (1−α)·θ_a + α·θ_b over all parameters and floating buffers (ESRGAN §3.4).

    Computed in float32 at least, returned in the wider type of the two. Counters (num_batches_tracked) are
    b's.

    Args:
        a: The PSNR-oriented network's state dict.
        b: The GAN-trained network's.
        alpha: α in [0,1]; 0 is exactly a, 1 is exactly b.

    Raises:
        InputError: α outside [0,1], or names or shapes that differ.

    >>> interpolate({"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}, 0.25)
    {'w': tensor([1.])}
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha={alpha} must lie from 0 (the first network) to 1 (the second)")
    if difference := differences(a, b):
        raise InputError(f"the second network is not of the same kind as the first: {difference}")
    return {name: _between(a[name], b[name], alpha) for name in a}


def _between(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    if not (a.is_floating_point() and b.is_floating_point()):
        return b.clone()
    result = torch.promote_types(a.dtype, b.dtype)
    dtype = torch.promote_types(result, torch.float32)
    return ((1 - alpha) * a.to(dtype) + alpha * b.to(dtype)).to(result)


def interpolate_files(
    path_a: str | Path, path_b: str | Path, alpha: float, out: str | Path, *, scale: int | None = None
) -> dict[str, Any]:
    """Interpolates two generators' files into a .safetensors file that says which they were.

    Args:
        path_a: The PSNR-oriented generator; any file that ``read_generator_file`` knows.
        path_b: The GAN-trained generator.
        alpha: α in [0,1].
        out: Ends in .safetensors.
        scale: For foreign files whose scale cannot be told.

    Returns:
        The provenance written: ``{"interpolation": {"alpha": …, "parents": […, …]}}``, a parent being
        ``{"file": name, "sha256": of its tensors, "metadata": its own provenance}``.

    Raises:
        InputError: α outside [0,1], files that cannot be read or are not of the same network.
    """
    paths = [Path(path_a), Path(path_b)]
    files = [read_generator_file(path) for path in paths]
    # A foreign file states no scale or residual scaling: its partner's spec then speaks for both.
    stated = [file.spec for file in files if file.spec is not None]
    if len(stated) == 2 and (different := different_settings(*stated)):
        raise InputError(f"{paths[1]} does not fit {paths[0]}: {different}")
    try:
        state = interpolate(files[0].state, files[1].state, alpha)
    except InputError as error:
        raise InputError(f"{paths[0]} and {paths[1]}: {error}") from error
    spec = resolve_spec(state, stated[0] if stated else None, scale=scale, source=paths[0])
    parents = [
        {"file": path.name, "sha256": state_hash(file.state), "metadata": file.metadata}
        for path, file in zip(paths, files, strict=True)
    ]
    provenance = {"interpolation": {"alpha": alpha, "parents": parents}}
    write_generator_file(out, state, spec, provenance)
    return provenance
