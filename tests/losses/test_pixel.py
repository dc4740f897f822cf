"""Charbonnier loss against its closed form; consistency against the resize that makes the LR."""

import math

import numpy as np
import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import CharbonnierLoss, ConsistencyLoss
from esrgan_lightning.ops import imresize


@pytest.mark.parametrize("eps", [1e-6, 1e-3, 0.5])
def test_charbonnier_is_its_closed_form(eps):
    rng = np.random.default_rng(0)
    sr, hr = rng.random((2, 3, 4, 5)), rng.random((2, 3, 4, 5))
    expected = sum(math.sqrt((a - b) ** 2 + eps * eps) for a, b in zip(sr.flat, hr.flat, strict=True)) / 120

    found = CharbonnierLoss(eps)(torch.from_numpy(sr), torch.from_numpy(hr))

    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_default_has_finite_gradient_where_the_pictures_agree():
    """√(d²) alone has gradient NaN at 0."""
    sr = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    CharbonnierLoss()(sr, sr.detach().clone()).backward()
    assert torch.equal(sr.grad, torch.zeros_like(sr))


def test_half_precision_is_summed_in_float32():
    sr, hr = torch.rand(1, 3, 8, 8).bfloat16(), torch.rand(1, 3, 8, 8).bfloat16()
    found = CharbonnierLoss()(sr, hr)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, CharbonnierLoss()(sr.double(), hr.double()).float())


@pytest.mark.parametrize("eps", [0.0, -1e-3, math.nan, math.inf])
def test_a_wrong_eps_is_refused(eps):
    with pytest.raises(InputError, match="eps="):
        CharbonnierLoss(eps)


def test_consistency_is_the_distance_of_the_shrunk_pictures():
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 2, 3, 16, 24, dtype=torch.float64)
    expected = (imresize(sr, 0.25) - imresize(hr, 0.25)).abs().mean()
    torch.testing.assert_close(ConsistencyLoss(4)(sr, hr), expected)


def test_consistencys_gradient_flows_to_the_sr_alone_and_autocast_leaves_it_exact():
    sr, hr = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    loss = ConsistencyLoss()(sr, hr)
    loss.backward()
    assert sr.grad.abs().sum() > 0
    assert hr.grad is None
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ConsistencyLoss()(sr, hr), loss)
