"""NIQE, the naturalness of an image without a reference, and the photos that it compares with."""

import math
import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics.fidelity import luma_within
from esrgan_lightning.networks._pretrained import read_tensors
from esrgan_lightning.ops import imresize
from esrgan_lightning.ops.files import write_whole, writing

FEATURES = 36
_BLOCK = 96
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # neighbours: right, below, both diagonals
_FORMAT = {"niqe": "mean and covariance of 36 features; luma BT.601 16..235 rounded, blocks of 96"}


class NaturalModel(NamedTuple):
    """A Gaussian over the features of natural blocks (Mittal et al. 2013, equation 8)."""

    mean: Tensor  # ν, (36,), float64
    covariance: Tensor  # Σ, (36,36), float64


def niqe(image: Tensor, crop: int = 0, model: NaturalModel | None = None) -> Tensor:
    """Natural image quality evaluator: the distance of the image's statistics from those of pristine photos.

    D = √((ν₁ − ν₂)ᵀ ((Σ₁ + Σ₂)/2)⁺ (ν₁ − ν₂)), ν and Σ being mean and covariance of 36 features per block of
    96×96: the parameters of asymmetric generalised Gaussians fitted to the locally normalised luma and to the
    products of its neighbours, at full and half size. Lower is better; natural photos lie at about 2 to 7.

    Computed on 8-bit luma (BT.601, rounded), as papers of super-resolution do (the authors' program takes
    rgb2gray, with other figures), of whole blocks alone.

    Args:
        image: (B, C, H, W), C = 3 or 1, uint8 or floating in [0,1] (clamped and rounded to 8 bits).
        crop: pixels left out on each side first.
        model: what natural is; the authors' model by default, see :func:`fit_niqe` for another.

    Returns:
        (B,), float64; NaN for an image with fewer than two blocks that are not flat. With flat areas (skies,
        drawings) the fit is ill-conditioned and the figure says little.

    Raises:
        InputError: the shape is none of the above, or less than two blocks (96×192) are left.
        ValueError: a value is NaN.

    Source:
        Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE SPL 2013. The
        pristine model is theirs, see ``NIQE_PRISTINE.md`` beside this file.
    """
    features, _ = _blocks(image, crop)
    return torch.stack([_distance(blocks, model or shipped()) for blocks in features])


def fit_niqe(images: Iterable[Tensor], *, sharpness: float = 0.75) -> NaturalModel:
    """Fits NIQE's idea of natural to photos of your own, such as those that a model was trained on.

    Args:
        images: photos one by one, as ``niqe`` takes them: (1, 3 or 1, H, W), in number at least dozens.
        sharpness: T, 0 to 1: those blocks of 96×96 count that are at least T times as sharp as their photo's
            sharpest, by the sum of local standard deviations (section II.C of the paper).

    Raises:
        InputError: a photo below 96×192, a sharpness outside 0 to 1, or too few blocks in all.
    """
    if not 0 <= sharpness <= 1:
        raise InputError(f"sharpness={sharpness} must lie from 0 (every block) to 1 (each photo's sharpest)")

    def chosen(image: Tensor) -> Tensor:
        features, sharp = (each[0] for each in _blocks(image, 0))
        return features[sharp >= sharpness * sharp.max()].cpu()

    features = torch.cat([torch.empty(0, FEATURES, dtype=torch.float64), *map(chosen, images)])
    features = features[~features.isnan().any(1)]  # of flat blocks
    if len(features) <= FEATURES:  # the covariance has no full rank
        raise InputError(
            f"{len(features)} sharp blocks of 96×96 pixels: {FEATURES + 1} are the least, hundreds the use; "
            "give more photos, or larger ones"
        )
    return NaturalModel(features.mean(0), features.T.cov())


@lru_cache(maxsize=1)
def shipped() -> NaturalModel:
    """The authors' model, of 125 photos; see ``NIQE_PRISTINE.md`` beside this file."""
    with (
        files(__package__).joinpath("niqe_pristine.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return NaturalModel(torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["covariance"]))


def save_model(path: str | os.PathLike[str], model: NaturalModel) -> None:
    """Writes a model as .safetensors; the file appears whole or not at all.

    Raises:
        InputError: a folder in which nothing can be written.
    """
    with writing(Path(path)):
        write_whole(Path(path), save(model._asdict(), metadata=_FORMAT))


def load_model(path: str | os.PathLike[str]) -> NaturalModel:
    """Reads what :func:`save_model` wrote.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    tensors = read_tensors(Path(path))
    shapes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    wanted = {"mean": ((FEATURES,), torch.float64), "covariance": ((FEATURES, FEATURES), torch.float64)}
    if shapes != wanted or not all(tensor.isfinite().all() for tensor in tensors.values()):
        found = ", ".join(sorted(tensors)) or "nothing"
        raise InputError(f"weights={path} holds {found}: expected a file of `esrgan metrics fit-niqe`")
    return NaturalModel(**tensors)


def _blocks(image: Tensor, crop: int) -> tuple[Tensor, Tensor]:
    """Of each image's blocks the features, (B,blocks,36), and the sharpness, (B,blocks)."""
    y = luma_within(image, crop)[:, 0]  # (B,H,W)
    rows, columns = y.shape[-2] // _BLOCK, y.shape[-1] // _BLOCK
    if rows * columns < 2:
        size = f"{y.shape[-2]}×{y.shape[-1]} (H×W)"
        raise InputError(f"NIQE needs two blocks of {_BLOCK}×{_BLOCK} pixels, 96×192 or 192×96, got {size}")
    y = y[:, : rows * _BLOCK, : columns * _BLOCK]
    half = imresize(y, 0.5, edges="symmetric")
    normalised, deviation = _local(y)
    features = [_features(normalised, _BLOCK), _features(_local(half)[0], _BLOCK // 2)]
    return torch.cat(features, dim=-1), _tiles(deviation, _BLOCK).sum((-2, -1))


def _tiles(x: Tensor, block: int) -> Tensor:
    """(B,H,W) → (B,blocks,block,block)."""
    return x.unfold(1, block, block).unfold(2, block, block).flatten(1, 2)


def _features(normalised: Tensor, block: int) -> Tensor:
    """(B,H,W) locally normalised luma → (B,blocks,18)."""
    tiles = _tiles(normalised, block)
    shape, left, right, _ = _fit(tiles)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        # Wraps around at the block's edges, as the authors' does.
        shape, left, right, mean = _fit(tiles * tiles.roll(shift, dims=(-2, -1)))
        features += [shape, mean, left, right]
    return torch.stack(features, dim=-1)


def _local(y: Tensor) -> tuple[Tensor, Tensor]:
    """(y − μ) / (σ + 1) and σ, with μ, σ under a 7×7 Gaussian window of 7/6 pixels, edges replicated."""
    taps = torch.arange(-3, 4, device=y.device, dtype=y.dtype)
    taps = torch.exp(-taps.square() / (2 * (7 / 6) ** 2))
    taps = taps / taps.sum()

    def blurred(x: Tensor) -> Tensor:
        x = F.pad(x[:, None], (3, 3, 3, 3), mode="replicate")
        return F.conv2d(F.conv2d(x, taps.view(1, 1, 7, 1)), taps.view(1, 1, 1, 7))[:, 0]

    mean = blurred(y)
    deviation = (blurred(y.square()) - mean.square()).abs().sqrt()
    return (y - mean) / (deviation + 1), deviation


def _fit(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Asymmetric generalised Gaussian of each (…,h,w) by moments: shape α, scales β left and right, mean η.

    All NaN where a block has no values on one side of zero, as a flat one.
    """
    square = x.square()
    below, above = x < 0, x > 0
    left = ((square * below).sum((-2, -1)) / below.sum((-2, -1))).sqrt()
    right = ((square * above).sum((-2, -1)) / above.sum((-2, -1))).sqrt()
    ratio = left / right
    r = x.abs().mean((-2, -1)).square() / square.mean((-2, -1))
    r = r * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()

    shapes, ratios = (torch.from_numpy(table).to(x.device) for table in _shape_table())
    after = torch.searchsorted(ratios, r).clamp(1, len(ratios) - 1)
    nearest = torch.where(ratios[after] - r < r - ratios[after - 1], after, after - 1)
    shape = torch.where(r.isnan(), r, shapes[nearest])

    spread = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    left, right = left * spread, right * spread
    mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
    return shape, left, right, mean


def _distance(features: Tensor, model: NaturalModel) -> Tensor:
    """(blocks,36) → the distance from the model, ()."""
    natural_mean, natural_covariance = (part.to(features.device) for part in model)
    sound = features[~features.isnan().any(dim=1)]
    if len(sound) < 2:
        return features.new_tensor(math.nan)
    offset = natural_mean - features.nanmean(dim=0)
    precision = torch.linalg.pinv((natural_covariance + sound.T.cov()) / 2)
    distance: Tensor = (offset @ precision @ offset).sqrt()
    return distance


@lru_cache(maxsize=1)
def _shape_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shapes α = 0.2, 0.201, …, 10 and Γ(2/α)² / (Γ(1/α) Γ(3/α)), which grows with α."""
    shapes = np.linspace(0.2, 10, 9801)
    log_ratios = [2 * math.lgamma(2 / a) - math.lgamma(1 / a) - math.lgamma(3 / a) for a in shapes]
    return shapes, np.exp(log_ratios)
