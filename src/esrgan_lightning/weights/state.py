"""State dicts: their hash and their differences."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError, first_few


def state_hash(state: Mapping[str, Tensor]) -> str:
    """The sha256 of a state dict: over its names in order, data types, shapes and bytes.

    The order of the entries, the device and the memory format make no difference.

    >>> state_hash({"a": torch.zeros(2)}) == state_hash({"a": torch.zeros(2)})
    True
    >>> state_hash({"a": torch.zeros(2)}) == state_hash({"a": torch.zeros(2, 1)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Says in one line how the names, shapes and kinds of two state dicts differ; empty where they agree."""
    missing = [name for name in expected if name not in found]
    surplus = [name for name in found if name not in expected]
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = [
        f"{name} {found[name].dtype} instead of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in found and found[name].is_floating_point() != tensor.is_floating_point()
    ]
    parts = (
        ("missing", missing),
        ("not expected", surplus),
        ("of another shape", shapes),
        ("of another type", kinds),
    )
    return "; ".join(f"{len(names)} {what}: {first_few(names)}" for what, names in parts if names)


def require_finite(state: Mapping[str, Tensor], source: object) -> None:
    """Raises InputError where weights are infinite or not a number: they would give a black image."""
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(
            f"{source}: the weights hold NaN or infinite values ({first_few(broken)}): the training that "
            "wrote them had diverged; use an earlier checkpoint"
        )
