"""Images measured one after the other, or by several processes."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.gallery import View, most_different_crop
from esrgan_lightning.evaluation.measures import Figure, load_figures
from esrgan_lightning.evaluation.pictures import Pictures
from esrgan_lightning.evaluation.sets import TestPair

#: LR → SR, (C,h,w) uint8 → (C,s·h,s·w), uint8 or floating in [0,1].
Model = Callable[[Tensor], Tensor]
#: Set and pair.
Task = tuple[str, TestPair]
#: {model: {metric: value}} of an image, and what is to be seen of it.
Outcome = tuple[dict[str, dict[str, float]], View | None]


@final
@dataclass(frozen=True)
class Bench:
    """All that measuring an image takes; figures are loaded where they are used first."""

    models: Mapping[str, Model | Pictures]  # by name
    metrics: Sequence[str]
    weights: Mapping[str, str | Path | None]  # files, by metric
    scale: int  # also the border
    device: str | None = None  # of the metrics' networks
    crop: int | None = None  # side of the crop to be shown, in HR pixels; None for none

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The metrics' functions."""
        return load_figures(self.metrics, self.weights, device=self.device)

    def measure(self, task: Task) -> Outcome:
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
                metric: figure(sr[None], hr[None], self.scale).item()
                for metric, figure in self.figures.items()
            }
        return rows, None if self.crop is None else most_different_crop(
            pair.name, lr, pictures, hr, side=self.crop
        )


def measured(bench: Bench, tasks: Sequence[Task], processes: int) -> Iterator[Outcome]:
    """The outcome of each task, in their order.

    Processes are started anew (spawn) and share this one's threads: each loads what it needs for itself. The
    figures are the same to the bit as from one process with as many threads; with more, the order of sums in
    a network moves LPIPS by some 1e-8.

    Raises:
        InputError: As :meth:`Bench.measure`, or a process ended before its work was done.
    """
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
            yield from pool.map(_measure, tasks)
    except BrokenProcessPool as error:
        raise InputError(
            f"one of processes={processes} ended before its work was done, most likely for lack of memory: "
            "try fewer, or a smaller tile"
        ) from error


_bench: Bench  # of a process of the pool


def _start(bench: Bench, threads: int) -> None:
    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act upon
    torch.set_num_threads(threads)
    _bench = bench


def _measure(task: Task) -> Outcome:
    return _bench.measure(task)
