"""Tensors that somebody else wrote: a file on disk, or torchvision's download."""

import http.client
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights  # type: ignore[import-untyped]

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.tensors import plain_tensors, read_stored

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Where a checkpoint of stage=material has its network: the attribute's name.
TRAINED = "network."
_EXPECTED = "expected one flat map of key → tensor (a state dict), or a checkpoint of stage=material"
# torchvision's layers after the features: passed over by a network that has none.
_HEADS = ("classifier.", "aux_classifier.")


class Frozen(nn.Module):
    """A network that stays in eval mode, whatever its parent does: a fixed yardstick."""

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode."""
        return super().train(False)


def check_image(image: Tensor, *, smallest: int) -> None:
    """Raises InputError where an image is not (B,3,H,W), or a side of it is too small for a network."""
    if image.ndim != 4 or image.shape[1] != 3:
        raise InputError(f"an image of shape {tuple(image.shape)}: expected RGB, (B,3,H,W)")
    if min(image.shape[-2:]) < smallest:
        size = f"{image.shape[-2]}×{image.shape[-1]} (H×W)"
        raise InputError(f"an image of {size}: the network needs {smallest} or more")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Reads ``{key: tensor}`` from a file of weights, on the CPU; nothing in it is run.

    Of a .ckpt, as ``stage=material`` writes it, the network that it has trained is read.

    Raises:
        InputError: No such file, or anything but named tensors in it.
    """
    file = Path(path)
    try:
        content, _ = read_stored(file)
        if file.suffix == ".ckpt":
            state = content.get("state_dict") if isinstance(content, Mapping) else None
            state = state if isinstance(state, Mapping) else {}
            content = {k.removeprefix(TRAINED): v for k, v in state.items() if str(k).startswith(TRAINED)}
        if not isinstance(content, Mapping):
            raise InputError(f"{file}: found a {type(content).__name__}; {_EXPECTED}")
        return plain_tensors(content, file, expected=_EXPECTED)
    except InputError as error:
        raise InputError(f"weights={error}") from error


def matching(
    state: Mapping[str, Tensor], known: Mapping[str, Tensor], needed: Collection[str], *, source: str
) -> dict[str, Tensor]:
    """The needed tensors of a file's state dict, in the dtype of the network.

    Args:
        state: What the file holds.
        known: The network's own state dict, on any device: every key that a file may hold.
        needed: The keys that have to be there.
        source: How an error message begins.

    Raises:
        InputError: A key is unknown or missing, a shape differs, or a value is not finite.
    """
    unknown = sorted(key for key in state if key not in known and not key.startswith(_HEADS))
    if unknown:
        raise InputError(f"{source}: unexpected key {unknown[0]} ({len(unknown)} unexpected in all)")
    missing = sorted(key for key in needed if key not in state)
    if missing:
        raise InputError(f"{source}: the key {missing[0]} is missing ({len(missing)} missing in all)")
    for key in sorted(needed):
        if state[key].shape != known[key].shape:
            found, expected = tuple(state[key].shape), tuple(known[key].shape)
            raise InputError(f"{source}: {key} is {found}, expected {expected}")
        if not state[key].isfinite().all():
            raise InputError(f"{source}: {key} holds values that are not finite")
    return {key: state[key].to(known[key].dtype) for key in needed}


def read_network(name: str, weights: str | Path | None, *, otherwise: str = "") -> Mapping[str, Tensor]:
    """A state dict of one of torchvision's networks, as ``vgg19``: a file's, or else torchvision's.

    Raises:
        InputError: It cannot be had; ``otherwise`` says at the end what else the user could do.
    """
    if weights is not None:
        return read_tensors(weights)
    origin = get_model_weights(name).DEFAULT
    try:
        state: Mapping[str, Tensor] = origin.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError, http.client.HTTPException, pickle.UnpicklingError) as error:
        raise InputError(
            f"the weights of {name} could not be downloaded from {origin.url} ({error}): give a "
            f"local file, weights=PATH ({Path(origin.url).name} or a .safetensors with the same keys), or "
            f"put it into {Path(torch.hub.get_dir()) / 'checkpoints'}{otherwise}"
        ) from error
    return state
