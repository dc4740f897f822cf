"""Means over processes: the identity alone, and with others the mean with its gradient."""

import pytest
import rank_work
import torch
from ranks import on_ranks

from esrgan_lightning.ops.distributed import logged_means, mean_over_processes, process_count


def test_alone_nothing_happens():
    """Breaks if a loss needs a process group, or a copy is made for nothing."""
    x = torch.ones(2, requires_grad=True)
    assert process_count() == 1
    assert mean_over_processes(x) is x
    logged = logged_means({"a": x.sum()})
    assert logged["a"] == 2
    assert not logged["a"].requires_grad


@pytest.mark.slow
def test_the_mean_and_both_its_derivatives_are_those_of_the_whole_batch():
    """Breaks if the gradient stays on its own process, or is averaged a second time.

    f = m³ with m = mean(x): ∂f/∂x_i = 3m²/n, and of Σ_i (∂f/∂x_i)² = 9m⁴/n the derivative is 36m³/n².
    """
    x = torch.randn(6, 2, dtype=torch.float64)
    m, n = x.mean(), x.numel()
    for rank, (mean, first, second) in enumerate(on_ranks(2, rank_work.mean_twice, x)):
        torch.testing.assert_close(mean, m)
        torch.testing.assert_close(first, (3 * m**2 / n).expand(3, 2), msg=f"rank {rank}")
        torch.testing.assert_close(second, (36 * m**3 / n**2).expand(3, 2))


@pytest.mark.slow
def test_logged_values_are_means_under_their_own_names():
    """Breaks if one value takes another's place in the common collective."""
    for values in on_ranks(2, rank_work.logged):
        assert {name: float(value) for name, value in values.items()} == {"a": 0.5, "b": 10.0}
        assert not any(value.requires_grad for value in values.values())
