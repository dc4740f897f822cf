"""What NIQE compares with: the statistics of pristine photos, shipped, fitted to your own, or from a file."""

import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import write_whole, writing

FEATURES = 36
_FORMAT = {"niqe": "mean and covariance of 36 features; luma BT.601 16..235 rounded, blocks of 96"}


class NaturalModel(NamedTuple):
    """A Gaussian over the features of natural blocks (Mittal et al. 2013, equation 8)."""

    mean: Tensor  # ν, (36,), float64
    covariance: Tensor  # Σ, (36,36), float64


@lru_cache(maxsize=1)
def shipped() -> NaturalModel:
    """The authors' model, of 125 photos; see ``NIQE_PRISTINE.md`` beside this file."""
    with (
        files(__package__).joinpath("niqe_pristine.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return NaturalModel(torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["covariance"]))


def gaussian_of(blocks: Iterable[Tensor]) -> NaturalModel:
    """The model of chosen blocks: their mean and unbiased covariance.

    Args:
        blocks: features (n,36) of one photo after the other; rows with NaN are left out.

    Raises:
        InputError: fewer than 37 blocks, for which the covariance has no full rank.
    """
    features = torch.cat([torch.empty(0, FEATURES, dtype=torch.float64), *(each.cpu() for each in blocks)])
    features = features[~features.isnan().any(1)]
    if len(features) <= FEATURES:
        raise InputError(
            f"{len(features)} sharp blocks of 96×96 pixels: {FEATURES + 1} are the least, hundreds the use; "
            "give more photos, or larger ones"
        )
    return NaturalModel(features.mean(0), features.T.cov())


def save_model(path: str | os.PathLike[str], model: NaturalModel) -> None:
    """Writes a model as .safetensors; the file appears whole or not at all.

    Raises:
        InputError: another ending, or a folder in which nothing can be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: a NIQE model is written as .safetensors: give a name with that ending")
    with writing(path):
        write_whole(path, save(model._asdict(), metadata=_FORMAT))


def load_model(path: str | os.PathLike[str]) -> NaturalModel:
    """Reads what :func:`save_model` wrote.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    expected = "expected a file of `esrgan metrics fit-niqe`"
    if not Path(path).is_file():
        raise InputError(f"NIQE model {path}: there is no such file; {expected}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"NIQE model {path} cannot be read ({error}); {expected}") from error
    shapes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    wanted = {"mean": ((FEATURES,), torch.float64), "covariance": ((FEATURES, FEATURES), torch.float64)}
    if shapes != wanted or not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise InputError(f"NIQE model {path} holds {', '.join(sorted(tensors)) or 'nothing'}; {expected}")
    return NaturalModel(tensors["mean"], tensors["covariance"])
