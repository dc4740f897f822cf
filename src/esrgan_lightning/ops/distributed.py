"""Means over the processes of a training run, with their gradients, and of their gradients.

Everything here is the identity where no process group is set up: a loss or layer that uses it needs no
second version for one process. All processes have to call in the same order, as with any collective.
"""

import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def process_count() -> int:
    """W, the number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_number() -> int:
    """r, the number of this process among :func:`process_count`, from 0; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def mean_over_processes(x: Tensor) -> Tensor:
    """The mean m = (1/W) Σ_r x_r, the same on all W processes, differentiable (twice) across them.

    m enters the loss l_r of every process, so x_q gets Σ_r ∂l_r/∂x_q = (1/W) Σ_r ∂l_r/∂m: the backward pass
    sums over the processes. :func:`average_gradients` then makes of it the gradient of L = (1/W) Σ_r l_r,
    which a single process would find.

    Args:
        x: of the same shape on all processes, each from an equal share of the batch.
    """
    count = process_count()
    return x if count == 1 else cast("Tensor", _Sum.apply(x)) / count


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces each gradient by its mean over the processes, with one all-reduce of them all.

    A parameter that no loss has reached counts as one with a gradient of 0. The new gradients are parts of
    one flat tensor; parameters, of one dtype, have to lie alike in memory on all processes, which
    :class:`~esrgan_lightning.run.processes.ManualDDP` sees to.
    """
    learning = [p for p in parameters if p.requires_grad]
    if process_count() == 1 or not learning:
        return
    flat = learning[0].new_empty(sum(p.numel() for p in learning))
    parts = torch.split(flat, [p.numel() for p in learning])
    means = [part.as_strided(p.shape, p.stride()) for part, p in zip(parts, learning, strict=True)]
    torch._foreach_copy_(means, [torch.zeros_like(p) if p.grad is None else p.grad for p in learning])
    flat /= process_count()
    dist.all_reduce(flat)
    for parameter, mean in zip(learning, means, strict=True):
        parameter.grad = mean


def logged_means(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each scalar's mean over the processes, without graph; one collective for all of them."""
    if process_count() == 1 or not values:
        return {name: value.detach() for name, value in values.items()}
    means = mean_over_processes(torch.stack([value.detach() for value in values.values()]))
    return dict(zip(values, means, strict=True))


class _Sum(Function):
    """Σ_r x_r; the gradient is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return cast("Tensor", _Sum.apply(gradients[0]))


@contextmanager
def signals_held(*names: str) -> Iterator[None]:
    """Around the start of processes: until they set these signals (``SIGINT``, …) aside, none ends them.

    They inherit the mask; what has come in the meantime reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in names])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
