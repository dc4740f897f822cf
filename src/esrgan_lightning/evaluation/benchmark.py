"""Models × sets → metrics, as the literature's tables have them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.gallery import Gallery
from esrgan_lightning.evaluation.measures import METRICS, check_metrics, check_size
from esrgan_lightning.evaluation.pictures import Pictures
from esrgan_lightning.evaluation.sets import TestPair
from esrgan_lightning.evaluation.workers import Bench, Model, Outcome, measured
from esrgan_lightning.ops.progress import tracked

#: {set: {model: {metric: mean, …, "images": {image: {metric: value}}}}}
Results = dict[str, dict[str, dict[str, Any]]]


def evaluate(
    models: Mapping[str, Model | Pictures],
    sets: Mapping[str, Sequence[TestPair]],
    *,
    scale: int,
    metrics: Sequence[str] = ("psnr_y", "ssim_y"),
    weights: Mapping[str, str | Path | None] | None = None,
    device: str | None = None,
    processes: int = 1,
    gallery: Gallery | None = None,
    progress: bool = True,
) -> Results:
    """Metrics of each model on each image, and their means over the images of a set.

    Everything that the files' headers tell is checked before a model runs.

    Args:
        models: From LR to SR, by name, or folders of pictures.
        sets: Image pairs, by set.
        scale: s; also the border that the metrics leave out.
        metrics: Names among :data:`~esrgan_lightning.evaluation.METRICS`.
        weights: Files for the metrics that need them, as in
            :func:`~esrgan_lightning.evaluation.measures.load_figures`.
        device: Where the metrics' networks compute; by default a GPU if there is one.
        processes: That share the images. Models must then be such as can be sent to another process: those of
            :func:`~esrgan_lightning.evaluation.load_models` can.
        gallery: Takes what is to be seen: the crops in which the models differ most.
        progress: Show a bar on a terminal.

    Returns:
        ``{set: {model: {metric: mean, …, "images": {image: {metric: value}}}}}``. PSNR is infinite where SR
        equals HR, and so is then its mean; NIQE is NaN where an image has no figure, and so is its mean.

    Raises:
        InputError: No model, no set, an empty set or one that names an image twice, an unknown metric,
            weights that do not serve, files that are no pair, an image too small for a metric, a folder of
            pictures that lacks one, or a model whose SR is not of the HR's size.
    """
    check_metrics(metrics)
    if not models or not sets:
        raise InputError(f"nothing to evaluate: {len(models)} models, {len(sets)} sets")
    for name, pairs in sets.items():
        _check_set(name, pairs, scale, metrics)
        for model in models.values():
            if isinstance(model, Pictures):
                model.find(name, pairs, scale)
    bench = Bench(models, metrics, weights or {}, scale, device, gallery.crop if gallery else None)
    bench.figures  # noqa: B018 (weights that are missing are better told now, and downloaded once)
    tasks = [(name, pair) for name, pairs in sets.items() for pair in pairs]
    rows: dict[str, dict[str, dict[str, dict[str, float]]]] = {s: {m: {} for m in models} for s in sets}
    outcomes: Iterable[Outcome] = measured(bench, tasks, processes)
    outcomes = tracked(outcomes, "evaluating", len(tasks)) if progress else outcomes
    for (name, pair), (figures, view) in zip(tasks, outcomes, strict=True):
        for model_name, values in figures.items():
            rows[name][model_name][pair.name] = values
        if gallery is not None and view is not None:
            gallery.add(name, view)
    return {
        name: {model: _means(images, metrics) | {"images": images} for model, images in by_model.items()}
        for name, by_model in rows.items()
    }


def _check_set(name: str, pairs: Sequence[TestPair], scale: int, metrics: Sequence[str]) -> None:
    if len({pair.name for pair in pairs}) != len(pairs) or not pairs:
        raise InputError(f"set {name} holds {len(pairs)} images, of which each needs a name of its own")
    for pair in pairs:
        check_size(pair.hr, pair.size(scale), dict.fromkeys(metrics, scale))


def _means(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> dict[str, Any]:
    table = torch.tensor([[row[metric] for metric in metrics] for row in rows.values()], dtype=torch.float64)
    root = torch.tensor([METRICS[metric].root for metric in metrics])
    means = torch.where(root, table.square().mean(0).sqrt(), table.mean(0))
    return dict(zip(metrics, means.tolist(), strict=True))
