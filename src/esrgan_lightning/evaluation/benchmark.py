"""Models × sets → metrics, as the literature's tables have them."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.gallery import Gallery, View, most_different_crop
from esrgan_lightning.evaluation.sets import Pictures, TestPair
from esrgan_lightning.metrics.measures import METRICS, check_metrics, check_size, load_networks
from esrgan_lightning.ops.distributed import signals_held
from esrgan_lightning.ops.progress import tracked

#: LR → SR, (C,h,w) uint8 → (C,s·h,s·w), uint8 or floating in [0,1].
Model = Callable[[Tensor], Tensor]
#: What :func:`evaluate` returns.
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
) -> Results:
    """Metrics of each model on each image, and their means over the images of a set.

    What the files' headers tell is checked before a model runs.

    Args:
        models: From LR to SR, by name, or folders of pictures.
        sets: Image pairs, by set.
        scale: s; also the border that the metrics leave out.
        metrics: Names among :data:`~esrgan_lightning.metrics.METRICS`.
        weights: Files for the metrics that need them, as in
            :func:`~esrgan_lightning.metrics.measures.load_networks`.
        device: Where the metrics' networks compute; by default a GPU if there is one.
        processes: That share the images and the threads, with the same figures to the bit as one process of
            as many threads (with more, the order of sums moves LPIPS by some 1e-8). Models must then be such
            as can be sent to another process: those of :func:`~esrgan_lightning.evaluation.load_models` can.
        gallery: Collects the crops in which the models differ most.

    Returns:
        ``{set: {model: {metric: mean, …, "images": {image: {metric: value}}}}}``. PSNR is infinite where SR
        equals HR, and so is then its mean; NIQE is NaN where an image has no figure, and so is its mean.

    Raises:
        InputError: Nothing to evaluate, an image named twice, an unknown metric or weights that do not serve,
            files that are no pair, an image too small for a metric, a picture that is missing, or a model
            whose SR is not of the HR's size.
    """
    check_metrics(metrics)
    if not models or not sets:
        raise InputError(f"nothing to evaluate: {len(models)} models, {len(sets)} sets")
    for name, pairs in sets.items():
        _check_set(name, pairs, scale, metrics)
        for model in models.values():
            if isinstance(model, Pictures):
                model.find(name, pairs, scale)
    bench = _Bench(models, metrics, weights or {}, scale, device, gallery.crop if gallery else None)
    bench.networks  # noqa: B018 (weights that are missing are better told now, and downloaded once)
    tasks = [(name, pair) for name, pairs in sets.items() for pair in pairs]
    rows: dict[str, dict[str, dict[str, dict[str, float]]]] = {s: {m: {} for m in models} for s in sets}
    outcomes = tracked(_measured(bench, tasks, processes), "evaluating", len(tasks))
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


# {model: {metric: value}} of an image, and its crops for the gallery.
_Outcome = tuple[dict[str, dict[str, float]], View | None]


@final
@dataclass(frozen=True)
class _Bench:
    """All that measuring an image takes; each process loads the networks for itself."""

    models: Mapping[str, Model | Pictures]  # by name
    metrics: Sequence[str]
    weights: Mapping[str, str | Path | None]  # files, by metric
    scale: int  # also the border
    device: str | None = None  # of the metrics' networks
    crop: int | None = None  # side of the crop to be shown, in HR pixels; None for none

    @cached_property
    def networks(self) -> dict[str, Any]:
        """What the metrics compute with."""
        return load_networks(self.metrics, self.weights, device=self.device)

    def measure(self, task: tuple[str, TestPair]) -> _Outcome:
        """Each model on one image; an InputError where its SR is not of the HR's size."""
        set_name, pair = task
        lr, hr = pair.load(self.scale)
        rows: dict[str, dict[str, float]] = {}
        pictures: dict[str, Tensor] = {}
        for name, model in self.models.items():
            sr = model.read(set_name, pair.name, len(hr)) if isinstance(model, Pictures) else model(lr)
            if sr.shape != hr.shape:
                raise InputError(
                    f"{name} made {tuple(sr.shape)} of {pair.name}, and the HR is {tuple(hr.shape)}: it is "
                    f"no model of scale {self.scale}"
                )
            pictures[name] = sr = sr.to(hr.device)
            rows[name] = {
                metric: METRICS[metric](sr[None], hr[None], self.scale, network).item()
                for metric, network in self.networks.items()
            }
        return rows, None if self.crop is None else most_different_crop(
            pair.name, lr, pictures, hr, side=self.crop
        )


def _measured(bench: _Bench, tasks: Sequence[tuple[str, TestPair]], processes: int) -> Iterator[_Outcome]:
    """The outcome of each task, in their order, by processes started anew (spawn) that share the threads."""
    if processes == 1:
        yield from map(bench.measure, tasks)
        return
    threads = max(1, torch.get_num_threads() // processes)
    pool = ProcessPoolExecutor(
        min(processes, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(replace(bench), threads),  # a copy without networks that were loaded
    )
    try:
        with pool:
            with signals_held("SIGINT"):  # which starts them
                outcomes = pool.map(_measure, tasks)
            yield from outcomes
    except BrokenProcessPool as error:
        raise InputError(
            f"one of processes={processes} ended before its work was done, most likely for lack of memory: "
            "try fewer, or a smaller tile"
        ) from error


_bench: _Bench  # of a process of the pool


def _start(bench: _Bench, threads: int) -> None:
    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act upon
    torch.set_num_threads(threads)
    _bench = bench


def _measure(task: tuple[str, TestPair]) -> _Outcome:
    return _bench.measure(task)
