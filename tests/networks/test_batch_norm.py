"""Synchronised batch norm against torch's own on the whole batch."""

import functools

import pytest
import rank_work
import torch
from ranks import on_ranks
from torch import nn

from esrgan_lightning.networks import PatchDiscriminator
from esrgan_lightning.networks.batch_norm import SynchronizedBatchNorm, synchronize_batch_norm


def test_a_network_keeps_its_tensors_keys_and_answers():
    """Breaks if an optimiser made before would hold other parameters, or a checkpoint's names change."""
    torch.manual_seed(0)
    network = PatchDiscriminator(num_features=4, num_layers=2)
    x = torch.rand(2, 3, 16, 16)
    before = network.state_dict(keep_vars=True)
    expected = network(x), network.eval()(x)
    network.train()
    synced = synchronize_batch_norm(network)
    after = synced.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert sum(isinstance(module, SynchronizedBatchNorm) for module in synced.modules()) == 2
    assert torch.equal(synced(x), expected[0])
    synced.load_state_dict(before)


def test_one_process_is_torchs_own_layer():
    """Breaks if training alone, evaluation, or a layer in evaluation mode changes by the switch."""
    x = torch.randn(3, 2, 4, 4)
    ours, theirs = synchronize_batch_norm(nn.BatchNorm2d(2)), nn.BatchNorm2d(2)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert not synchronize_batch_norm(nn.BatchNorm2d(2).eval()).training
    with pytest.raises(ValueError, match="takes"):
        ours(torch.zeros(3))


LAYERS = {
    "default": functools.partial(nn.BatchNorm2d, 3),
    "cumulative": functools.partial(nn.BatchNorm2d, 3, momentum=None, eps=1e-3),
    "bare": functools.partial(nn.BatchNorm2d, 3, affine=False, track_running_stats=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LAYERS))
def test_two_processes_are_one_with_the_whole_batch(name):
    """Breaks if the spread of the means is left out of the variance, or a gradient stays at home."""
    random = torch.Generator().manual_seed(0)
    batches = [5 + torch.randn(4, 3, 2, 3, generator=random, dtype=torch.float64) for _ in range(2)]
    batches[0][:2] += 3  # the processes' own means differ
    close = functools.partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    whole, expected = LAYERS[name]().double(), []
    for batch in batches:
        x = batch.clone().requires_grad_()
        y = whole(x)
        y.sin().sum().backward()
        expected.append((y.detach(), x.grad))
    parts = on_ranks(2, rank_work.batch_norms, LAYERS[name], batches)
    for number, (y, gradient) in enumerate(expected):
        close(torch.cat([passes[number][0] for passes, *_ in parts]), y)
        # The worker divides its loss by the number of processes, as DDP's average does.
        close(2 * torch.cat([passes[number][1] for passes, *_ in parts]), gradient)
    for _, state, gradients, evaluated in parts:
        assert state.keys() == whole.state_dict().keys()
        for key, tensor in whole.state_dict().items():
            close(state[key], tensor)
        for mine, parameter in zip(gradients, whole.parameters(), strict=True):
            close(2 * mine, parameter.grad)
        close(evaluated, whole.eval()(batches[0]).detach())
