"""What every degradation needs: its random numbers, its checks, 8-bit levels."""

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from esrgan_lightning.errors import InputError

_STREAM = 3  # counter word of the degradations' draws; 1 and 2 are the placement's
_MOST_SEED = 2**64 - 1

Range = tuple[float, float]


class Degradation(Protocol):
    """Makes the LR of a batch: a pure function of (seed, number, hr) for each of its samples."""

    @property
    def margin(self) -> int:
        """LR pixels of surroundings on each side that keep the border's effects out of the middle."""

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """uint8 (B,C,H,W), C 3 or 1, numbers (B,) on the CPU → uint8 (B,C,H/scale,W/scale) where hr lies."""


def draws(seed: int, number: int) -> np.random.Generator:
    """The random numbers of one sample: a stream that no other (seed, number) shares."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, number, _STREAM]))


def noise_source(random: np.random.Generator, device: torch.device) -> torch.Generator:
    """A generator on the image's device, seeded by the sample's next draw."""
    return torch.Generator(device).manual_seed(int(random.integers(2**63)))


def between(bounds: Range, share: float) -> float:
    """The point at ``share`` of [0,1] between the bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * share


def around_one(bounds: Range, share: float) -> float:
    """As ``between``, but half of the shares fall below 1 and half above: [low, 1], then [1, high]."""
    below, above = (bounds[0], 1.0), (1.0, bounds[1])
    return between(below, 2 * share) if share < 0.5 else between(above, 2 * share - 1)


def pick(weights: Mapping[str, float], share: float) -> str:
    """The name at ``share`` of [0,1) when the names lie side by side, as wide as their weights."""
    names = [name for name, weight in weights.items() if weight > 0]
    edges = np.cumsum([weights[name] for name in names])
    return names[min(int(np.searchsorted(edges, share * edges[-1], side="right")), len(names) - 1)]


def whole(bounds: Range, share: float) -> int:
    """A whole number from the bounds, both included, at ``share`` of [0,1)."""
    low, high = int(bounds[0]), int(bounds[1])
    return low + int((high - low + 1) * share)


def to_levels(image: Tensor) -> Tensor:
    """[0,1] → whole levels 0..255, rounded half up, of the same dtype; never waits for the device."""
    return image.clamp(0, 1).mul(255).add(0.5).floor()


def workplace(hr: Tensor) -> Tensor:
    """The batch where the work can be done: Apple's mps lacks some of it, so there it moves to the CPU."""
    return hr.cpu() if hr.device.type == "mps" else hr


def check_seed(seed: int) -> None:
    """Refuses what Philox takes for no key."""
    if not 0 <= seed <= _MOST_SEED:
        raise InputError(f"degradation.seed={seed} must be in 0..{_MOST_SEED}")


def check_probability(key: str, value: float) -> None:
    """Refuses what is not in [0,1]."""
    if not 0 <= value <= 1:
        raise InputError(f"degradation.{key}={value} is a probability: give a number in [0, 1]")


def check_range(
    key: str, value: Iterable[float], low: float, high: float = math.inf, *, whole: bool = False
) -> Range:
    """The pair (lowest, highest), both in [low, high], in order; whole numbers on request."""
    pair = tuple(value)
    kind = "whole numbers" if whole else "numbers"
    fits = len(pair) == 2 and all(math.isfinite(v) and low <= v <= high for v in pair) and pair[0] <= pair[1]
    if not fits or (whole and any(v != int(v) for v in pair)):
        bounds = f"in [{low}, {high}]" if high < math.inf else f"of at least {low}"
        raise InputError(f"degradation.{key}={list(pair)} must be [lowest,highest], {kind} {bounds}")
    return float(pair[0]), float(pair[1])


def check_around_one(key: str, value: Iterable[float]) -> Range:
    """A range above 0 that holds 1."""
    pair = check_range(key, value, 0.01)
    if not pair[0] <= 1 <= pair[1]:
        raise InputError(f"degradation.{key}={list(pair)} must hold 1: half of the draws lie to each side")
    return pair


def check_weights(key: str, value: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Weights by name: known names, none negative, not all 0."""
    weights = {str(name): float(weight) for name, weight in value.items()}
    if unknown := set(weights) - set(names):
        raise InputError(f"degradation.{key} has no {sorted(unknown)[0]}: it weighs {', '.join(names)}")
    if not all(math.isfinite(w) and w >= 0 for w in weights.values()) or not any(weights.values()):
        raise InputError(f"degradation.{key}={weights} must be weights of at least 0, and not all of them 0")
    return weights
