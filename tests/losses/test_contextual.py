"""Contextual loss: the paper's definition in loops, its bounds, its memory, and that it is blind to place."""

import math

import pytest
import torch
from by_formula import Toy
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import ContextualLoss
from esrgan_lightning.losses.contextual import contextual_loss
from esrgan_lightning.networks.backbones import VGGFeatures


def features(batch=2, channels=5, height=3, width=4):
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, batch, channels, height, width, generator=random, dtype=torch.float64).unbind()


def by_the_book(x: Tensor, y: Tensor, h: float) -> Tensor:
    """Mechrez et al. 2018, eq. 2 to 5, position by position."""
    total = torch.zeros((), dtype=x.dtype)
    for image_x, image_y in zip(x.flatten(2), y.flatten(2), strict=True):
        n = image_x.shape[1]
        mean = sum(image_y[:, j] for j in range(n)) / n
        d = [[None] * n for _ in range(n)]
        for i in range(n):
            for j in range(n):
                a, b = image_x[:, i] - mean, image_y[:, j] - mean
                d[i][j] = 1 - (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())
        cx = [[None] * n for _ in range(n)]
        for i in range(n):
            smallest = min(d[i], key=lambda value: value.item())
            w = [torch.exp((1 - d[i][j] / (smallest + 1e-5)) / h) for j in range(n)]
            for j in range(n):
                cx[i][j] = w[j] / sum(w)
        best = [max((cx[i][j] for i in range(n)), key=lambda value: value.item()) for j in range(n)]
        total = total - torch.log(sum(best) / n)
    return total / len(x)


@pytest.mark.parametrize("h", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("block", [1, 5, 12, 100])
def test_value_and_gradient_are_the_books(h, block):
    """Breaks if the normalisation or the maximum runs over the wrong side, or a block is left out."""
    x, y = features()
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = contextual_loss(mine, y, bandwidth=h, block=block), by_the_book(theirs, y, h)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    found.backward()
    expected.backward()
    assert theirs.grad.abs().max() > 1e-3
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-7, atol=1e-11)


def test_it_is_0_for_the_same_features_wherever_they_are_and_log_n_at_most():
    """Breaks if the loss compares positions: the shuffled picture holds every feature of the other."""
    x, y = features(channels=64)
    shuffled = y.flatten(2)[..., torch.randperm(12)].view_as(y)
    assert contextual_loss(shuffled, y, bandwidth=0.1).item() == pytest.approx(0, abs=1e-6)
    one_colour = x[..., :1, :1].expand_as(y)  # all rows alike: Σ_j max_i CX_ij = 1
    assert contextual_loss(one_colour, y).item() == pytest.approx(math.log(12))
    assert 0 < contextual_loss(x, y).item() < math.log(12)


@pytest.mark.parametrize("block", [8, 64])
def test_no_square_matrix_is_kept_for_the_backward_pass(block):
    """Breaks if recomputation is lost: N² numbers for each image would be saved."""
    n, kept = 256, []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    x = torch.randn(1, 8, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = contextual_loss(x, torch.randn(1, 8, 16, 16), block=block)
    assert max(kept) <= 8 * n
    loss.backward()
    assert x.grad.isfinite().all()


def pictures():
    return torch.rand(2, 2, 3, 6, 6, generator=torch.Generator().manual_seed(0)).unbind()


def test_layers_weights_and_bandwidth_reach_the_sum_and_gradient_goes_to_sr_alone():
    """Breaks if a layer's weight is dropped, or the backbone or HR learns."""
    sr, hr = (each.requires_grad_() for each in pictures())
    loss = ContextualLoss(Toy(), [2.0, 3.0], bandwidth=0.3, block=7)
    found = loss(sr, hr)
    expected = 2 * contextual_loss(3 * sr, 3 * hr, bandwidth=0.3)
    expected = expected + 3 * contextual_loss(sr**2, hr**2, bandwidth=0.3)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert sr.grad.abs().max() > 0
    assert hr.grad is None
    assert loss.backbone.weight.grad is None
    assert list(loss.state_dict()) == list(loss.parameters()) == []


def test_under_autocast_positions_are_compared_in_float32():
    """Breaks if bf16's cosines, 1/256 apart, decide which features match: d is divided by its minimum."""
    x, y = (each.float() for each in features(channels=64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = contextual_loss(x, y)
    assert found.dtype == torch.float32
    assert torch.equal(found, contextual_loss(x, y))
    loss = ContextualLoss(VGGFeatures("vgg16", ["conv1_2"], weights="random"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(*pictures()).dtype == torch.float32


def test_equal_pictures_and_flat_ones_have_a_finite_gradient():
    """Breaks at min d = 0, or where a feature is the mean itself and has no direction."""
    hr = pictures()[1]
    for sr in (hr.clone(), torch.full_like(hr, 0.5)):
        for truth in (hr, torch.full_like(hr, 0.5)):
            picture = sr.clone().requires_grad_()
            ContextualLoss(Toy())(picture, truth).backward()
            assert picture.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth=0.0"),
        ({"bandwidth": math.nan}, "bandwidth=nan"),
        ({"block": 0}, "block=0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ContextualLoss(Toy(), **arguments)
