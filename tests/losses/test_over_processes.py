"""Losses of two processes with half a batch each: their mean, and DDP's gradients, are those of the batch."""

import pytest
import rank_work
import torch
from ranks import on_ranks

from esrgan_lightning.losses import (
    HingeGAN,
    LeastSquaresGAN,
    PerceptualLoss,
    RelativisticAverageGAN,
    StandardGAN,
    WassersteinGAN,
)

pytestmark = pytest.mark.slow

GAMES = [
    RelativisticAverageGAN(),
    RelativisticAverageGAN(halved=True, detach_mean_in_discriminator=True),
    StandardGAN(),
    LeastSquaresGAN(),
    HingeGAN(),
    WassersteinGAN(),
]


def test_adversarial_losses_and_gradients_are_those_of_the_whole_batch():
    """Breaks if a relativistic mean is that of a share, or its gradient stays at home."""
    random = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(4, 1, 2, 3, generator=random, dtype=torch.float64) for _ in range(2))
    losses = [(game, name) for game in GAMES for name in ("generator_loss", "discriminator_loss")]
    ranks = on_ranks(2, rank_work.adversarial_losses, losses, real, fake)
    for (game, name), *parts in zip(losses, *ranks, strict=True):
        whole = [real.clone().requires_grad_(), fake.clone().requires_grad_()]
        value = getattr(game, name)(*whole)
        value.backward()
        torch.testing.assert_close(sum(part[0] for part in parts) / 2, value.detach())
        for number, image in enumerate(whole, start=1):
            halves = [part[number] for part in parts]
            if image.grad is None:  # a generator's loss that does not look at real images
                assert halves == [None, None]
            else:
                message = f"{game} {name}"
                torch.testing.assert_close(torch.cat(halves), image.grad, rtol=1e-12, atol=1e-15, msg=message)


def test_a_relative_perceptual_distance_is_relative_to_the_whole_batch():
    """Breaks if each process divides by the size of its own images' features, or counts its own samples."""
    random = torch.Generator().manual_seed(0)
    sr, hr = (torch.rand(4, 3, 5, 5, generator=random, dtype=torch.float64) for _ in range(2))
    hr[:2] *= 0.1
    whole = sr.clone().requires_grad_()
    value = PerceptualLoss(rank_work.Backbone(), relative=True, shift=3)(whole, hr)
    value.backward()
    ranks = on_ranks(2, rank_work.relative_distance, sr, hr)
    torch.testing.assert_close(sum(each[0] for each in ranks) / 2, value.detach())
    torch.testing.assert_close(torch.cat([each[1] for each in ranks]), whole.grad)
