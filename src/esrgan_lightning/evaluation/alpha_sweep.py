"""Network interpolation seen as a whole: pictures and figures over α."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import evaluate
from esrgan_lightning.evaluation.sets import TestPair
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.ops import from_float, to_float
from esrgan_lightning.weights.interpolation import check_alpha


def interpolate_images(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """(1−α)·a + α·b of two pictures: what ESRGAN §4.4 compares network interpolation with.

    Args:
        a: (…,C,H,W), uint8, uint16 or floating in [0,1].
        b: Of the same shape and type.
        alpha: α in [0,1].

    Returns:
        Of the same shape and type, rounded for integers.

    Raises:
        InputError: α outside [0,1], or pictures that differ in shape or type.
    """
    check_alpha(alpha)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise InputError(f"cannot mix {a.dtype} {tuple(a.shape)} with {b.dtype} {tuple(b.shape)}")
    return from_float((1 - alpha) * to_float(a) + alpha * to_float(b), a.dtype)


@final
class Sweep(NamedTuple):
    """What :func:`alpha_sweep` found."""

    alphas: list[float]
    pictures: list[list[Tensor]]  # of each image, one for each α: (C,H,W) uint8
    mixed: list[list[Tensor]]  # the same by image interpolation
    pairs: list[tuple[Tensor, Tensor]]  # LR and HR, uint8
    values: dict[str, list[float]]  # of the networks, metric → the mean over images for each α
    mixed_values: dict[str, list[float]]


def alpha_sweep(
    states: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    spec: Mapping[str, Any],
    images: Sequence[TestPair],
    *,
    alphas: Sequence[float],
    metrics: Sequence[str] = ("psnr_y", "ssim_y"),
    device: str | None = None,
    tile: int | None = None,
    **evaluation: Any,
) -> Sweep:
    """Enlarges images by the networks between two, and measures them.

    Args:
        states: The state dicts at α = 0 and 1.
        spec: Of the network that both are of.
        images: HR images, with or without their LR.
        alphas: In [0,1], ascending.
        metrics: Names among ``METRICS``.
        device: As in :class:`~esrgan_lightning.inference.Upscaler`.
        tile: Likewise.
        **evaluation: What :func:`~esrgan_lightning.evaluation.evaluate` takes besides.

    Raises:
        InputError: No α, one outside [0,1] or twice, or as in ``evaluate``.
    """
    if not alphas or list(alphas) != sorted(set(alphas)):
        raise InputError(
            f"alphas {', '.join(f'{a:g}' for a in alphas) or 'none'}: give some, each once, ascending"
        )
    for alpha in alphas:
        check_alpha(alpha)
    pair = NetworkPair(states, spec, device=device, tile=tile)
    scale = pair.scale
    seen: dict[str, list[Tensor]] = {}
    names = [f"α {alpha:g}" for alpha in alphas]
    models = {
        name: _watched(seen.setdefault(name, []), pair.at(alpha))
        for name, alpha in zip(names, alphas, strict=True)
    }
    results = evaluate(models, {"images": images}, scale=scale, metrics=metrics, **evaluation)["images"]
    pictures = [[seen[name][index] for name in names] for index in range(len(images))]

    ends = [[pair(each.load(scale)[0], end) for each in images] for end in (0.0, 1.0)]
    mixed = [
        [interpolate_images(first, last, alpha) for alpha in alphas]
        for first, last in zip(*ends, strict=True)
    ]
    mixes = {name: _read_off([row[index] for row in mixed]) for index, name in enumerate(names)}
    blended = evaluate(mixes, {"images": images}, scale=scale, metrics=metrics, **evaluation)["images"]
    return Sweep(
        list(alphas),
        pictures,
        mixed,
        [each.load(scale) for each in images],
        {metric: [results[name][metric] for name in names] for metric in metrics},
        {metric: [blended[name][metric] for name in names] for metric in metrics},
    )


def _watched(seen: list[Tensor], model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def watched(lr: Tensor) -> Tensor:
        seen.append(model(lr))
        return seen[-1]

    return watched


def _read_off(pictures: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """A model whose pictures are there already: evaluate asks for them in the order of the images."""
    following = iter(pictures)
    return lambda lr: next(following)


def as_json(sweep: Sweep, files: Sequence[str | Path]) -> dict[str, Any]:
    """Plain values: α, metrics of both kinds, and the two models' names."""
    return {
        "models": [str(file) for file in files],
        "alphas": sweep.alphas,
        "network_interpolation": sweep.values,
        "image_interpolation": sweep.mixed_values,
    }
