"""The moving average alone; its place in a run is tested with the updates."""

import pytest
import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.stages.ema import MovingAverage


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2])
def test_decay_out_of_range_is_named(decay):
    """Breaks if 1 is taken: the average would never move."""
    with pytest.raises(InputError, match=f"stage.ema_decay={decay}"):
        MovingAverage(nn.Linear(2, 2), decay)


def test_buffers_are_copied_not_averaged():
    """Breaks if batch norm's statistics lag behind, or its integer counter becomes a fraction."""
    network = nn.BatchNorm2d(2)
    average = MovingAverage(network, 0.9)
    for _ in range(3):
        network(torch.randn(4, 2, 3, 3))
        average.update_parameters(network)
    torch.testing.assert_close(average.module.running_mean, network.running_mean)
    assert average.module.num_batches_tracked == 3
