"""Models × sets → metrics, as the literature's tables have them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.sets import TestPair
from esrgan_lightning.metrics import niqe, psnr_rgb, psnr_y, ssim_rgb, ssim_y

#: LR → SR, (C,h,w) uint8 → (C,s·h,s·w), uint8 or floating in [0,1].
Model = Callable[[Tensor], Tensor]
#: {set: {model: {metric: mean, …, "images": {image: {metric: value}}}}}
Results = dict[str, dict[str, dict[str, Any]]]

#: name → (sr, hr, crop) → (B,)
METRICS: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = MappingProxyType(
    {
        "psnr_y": psnr_y,
        "ssim_y": ssim_y,
        "psnr_rgb": psnr_rgb,
        "ssim_rgb": ssim_rgb,
        "niqe": lambda sr, _hr, crop: niqe(sr, crop),
    }
)
# What must be left within the border: squares of this side, and how many.
_NEEDED = {"ssim_y": (11, 1), "ssim_rgb": (11, 1), "niqe": (96, 2)}


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises InputError where a name is not one of :data:`METRICS`, or none is given."""
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise InputError(f"metrics: {', '.join(unknown) or 'none given'}; known are {', '.join(METRICS)}")


def evaluate(
    models: Mapping[str, Model],
    sets: Mapping[str, Sequence[TestPair]],
    *,
    scale: int,
    metrics: Sequence[str] = ("psnr_y", "ssim_y"),
    progress: bool = True,
) -> Results:
    """Metrics of each model on each image, and their means over the images of a set.

    Everything that the files' headers tell is checked before a model runs.

    Args:
        models: From LR to SR, by name.
        sets: Image pairs, by set.
        scale: s; also the border that the metrics leave out.
        metrics: Names among :data:`METRICS`.
        progress: Show a bar on a terminal.

    Returns:
        ``{set: {model: {metric: mean, …, "images": {image: {metric: value}}}}}``. PSNR is infinite where SR
        equals HR, and so is then its mean; NIQE is NaN where an image has no figure, and so is its mean.

    Raises:
        InputError: No model, no set, an empty set or one that names an image twice, an unknown metric, files
            that are no pair, an image too small for a metric, or a model whose SR is not of the HR's size.
    """
    check_metrics(metrics)
    if not models or not sets:
        raise InputError(f"nothing to evaluate: {len(models)} models, {len(sets)} sets")
    for name, pairs in sets.items():
        _check_set(name, pairs, scale, metrics)
    return {
        name: _evaluate_set(models, pairs, name, scale=scale, metrics=metrics, progress=progress)
        for name, pairs in sets.items()
    }


def _check_set(name: str, pairs: Sequence[TestPair], scale: int, metrics: Sequence[str]) -> None:
    if len({pair.name for pair in pairs}) != len(pairs) or not pairs:
        raise InputError(f"set {name} holds {len(pairs)} images, of which each needs a name of its own")
    for pair in pairs:
        height, width = (length - 2 * scale for length in pair.size(scale))
        for metric in metrics:
            side, count = _NEEDED.get(metric, (1, 1))
            if max(0, height) // side * (max(0, width) // side) < count:
                raise InputError(
                    f"{pair.hr} leaves {height}×{width} pixels (H×W) within the border of {scale}, and "
                    f"{metric} needs {count} of {side}×{side}: leave out the image or the metric"
                )


def _evaluate_set(
    models: Mapping[str, Model],
    pairs: Sequence[TestPair],
    set_name: str,
    *,
    scale: int,
    metrics: Sequence[str],
    progress: bool,
) -> dict[str, dict[str, Any]]:
    images: dict[str, dict[str, dict[str, float]]] = {name: {} for name in models}
    shown = progress and Console().is_terminal  # into a file the bar would be empty lines
    for pair in track(pairs, description=set_name, disable=not shown, transient=True):
        lr, hr = pair.load(scale)
        for name, model in models.items():
            sr = model(lr)
            if sr.shape != hr.shape:
                raise InputError(
                    f"{name} made {tuple(sr.shape)} of {pair.name}, and the HR is {tuple(hr.shape)}: it is "
                    f"no model of scale {scale}"
                )
            sr = sr.to(hr.device)[None]
            images[name][pair.name] = {
                metric: METRICS[metric](sr, hr[None], scale).item() for metric in metrics
            }
    return {name: _means(rows, metrics) | {"images": rows} for name, rows in images.items()}


def _means(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> dict[str, Any]:
    table = torch.tensor([[row[metric] for metric in metrics] for row in rows.values()], dtype=torch.float64)
    return dict(zip(metrics, table.mean(0).tolist(), strict=True))
