"""Consistency: what it holds, what it leaves free, against the resize that makes the LR."""

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import ConsistencyLoss
from esrgan_lightning.ops import imresize


def test_it_is_the_distance_of_the_shrunk_pictures():
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 2, 3, 16, 24, dtype=torch.float64)
    expected = (imresize(sr, 0.25) - imresize(hr, 0.25)).abs().mean()
    torch.testing.assert_close(ConsistencyLoss(4)(sr, hr), expected)


def test_gradient_flows_to_the_sr_alone_and_autocast_leaves_it_exact():
    sr, hr = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    loss = ConsistencyLoss()(sr, hr)
    loss.backward()
    assert sr.grad.abs().sum() > 0
    assert hr.grad is None
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ConsistencyLoss()(sr, hr), loss)


def test_shapes_must_be_equal():
    with pytest.raises(InputError, match="16"):
        ConsistencyLoss()(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8))
