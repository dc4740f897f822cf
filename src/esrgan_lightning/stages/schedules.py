"""Learning rates as closed forms of the update's number: a resumed run cannot drift from them."""

import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from esrgan_lightning.errors import InputError


def _schedule(optimizer: Optimizer, factor: Callable[[int], float], warmup: int) -> LambdaLR:
    if warmup < 0:
        raise InputError(f"schedule.warmup={warmup} must not be negative")

    def warmed(update: int) -> float:
        return factor(update) * min(1.0, (update + 1) / (warmup + 1))

    return LambdaLR(optimizer, warmed)


def milestones(optimizer: Optimizer, at: Sequence[int], *, gamma: float = 0.5, warmup: int = 0) -> LambdaLR:
    """Lr · γ^(number of milestones reached): ESRGAN §4.1 halves it at 50k, 100k, 200k and 300k.

    Args:
        optimizer: whose learning rate is set.
        at: updates from which on the rate is multiplied once more.
        gamma: the factor.
        warmup: updates over which the rate rises linearly from near 0.
    """
    steps = sorted(at)
    return _schedule(optimizer, lambda update: gamma ** sum(update >= step for step in steps), warmup)


def cosine(optimizer: Optimizer, updates: int, *, lr_min: float = 1e-7, warmup: int = 0) -> LambdaLR:
    """Half a cosine from the optimiser's rate down to ``lr_min`` over the run (SGDR, eq. 5, one period)."""
    return cosine_restarts(optimizer, [updates], lr_min=lr_min, warmup=warmup)


def cosine_restarts(
    optimizer: Optimizer, periods: Sequence[int], *, lr_min: float = 1e-7, warmup: int = 0
) -> LambdaLR:
    """Cosine periods one after another, each from the full rate down to ``lr_min`` (SGDR, eq. 5).

    After the last period the rate stays at ``lr_min``.
    """
    if not periods or min(periods) <= 0:
        raise InputError(f"schedule.periods={list(periods)} must hold positive numbers of updates")
    low = lr_min / float(optimizer.param_groups[0]["lr"])

    def factor(update: int) -> float:
        for period in periods:
            if update < period:
                return low + (1 - low) * (1 + math.cos(math.pi * update / period)) / 2
            update -= period
        return low

    return _schedule(optimizer, factor, warmup)


def constant(optimizer: Optimizer, *, warmup: int = 0) -> LambdaLR:
    """The optimiser's own rate throughout."""
    return _schedule(optimizer, lambda _update: 1.0, warmup)
