"""What is known of an update that was not finite."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn


class NonFiniteError(RuntimeError):
    """Training diverged: too many updates in a row were not finite, or a validation was not."""


class Fault(NamedTuple):
    """The first of a row of updates that were skipped."""

    update: int
    cause: str  # which term, or whose gradient; on which images
    batches: list[Mapping[str, Any]]

    def __str__(self) -> str:
        return f"update {self.update}: {self.cause}"


def cause_of(
    terms: Sequence[Mapping[str, Tensor]], batches: Sequence[Mapping[str, Any]], broken: str | None
) -> str | None:
    """Which loss term was not finite, or whose gradient, and on which images; None for fp16's overflow.

    Args:
        terms: of each backward pass of the update.
        batches: of the update.
        broken: the first parameter whose gradient was not finite.
    """
    # Overflow alone is how fp16 finds its scale, and no fault.
    bad = {name for each in terms for name, term in each.items() if not term.isfinite().all()}
    images = [str(name) for batch in batches for name in batch.get("name", ())]
    on = f" (images {', '.join(dict.fromkeys(images))})" if images else ""
    if bad:
        return f"not finite: loss term {', '.join(sorted(bad))}{on}"
    return f"not finite: the gradient of {broken}; the losses are{on}" if broken else None


def first_broken(stage: nn.Module) -> str:
    """The name of the first parameter whose gradient is not finite."""
    for name, parameter in stage.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return name
    return "all parameters together"  # each is finite, and the sum of their squares is not


def forget_broken_statistics(stage: nn.Module) -> None:
    """Begins batch norms' running statistics anew where they are not finite."""
    # A step can be left out, but batch norm has averaged the NaN in: it would stay there for good.
    for module in stage.modules():
        mean = getattr(module, "running_mean", None)
        if isinstance(mean, Tensor) and not mean.isfinite().all():
            module.reset_running_stats()  # type: ignore[operator]
