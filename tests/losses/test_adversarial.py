"""Adversarial losses against the papers' formulas written out naively, and proofs of where gradient flows."""

import math

import pytest
import torch
import torch.nn.functional as F

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import (
    HingeGAN,
    LeastSquaresGAN,
    RelativisticAverageGAN,
    StandardGAN,
    WassersteinGAN,
)

ALL = [RelativisticAverageGAN(), StandardGAN(), LeastSquaresGAN(), HingeGAN(), WassersteinGAN()]


def logits(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(*shape, generator=generator, dtype=torch.float64) + 0.5
    fake = torch.randn(*shape, generator=generator, dtype=torch.float64) - 0.5
    return real, fake


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def relativistic_by_the_book(real, fake):
    """(L_D, L_G) of ESRGAN, section 3.2, with σ and log in double loops."""
    real, fake = real.flatten().tolist(), fake.flatten().tolist()
    mean_real, mean_fake = sum(real) / len(real), sum(fake) / len(fake)
    d_loss = g_loss = 0.0
    for c in real:
        probability = sigmoid(c - mean_fake)
        d_loss -= math.log(probability) / len(real)
        g_loss -= math.log(1 - probability) / len(real)
    for c in fake:
        probability = sigmoid(c - mean_real)
        d_loss -= math.log(1 - probability) / len(fake)
        g_loss -= math.log(probability) / len(fake)
    return d_loss, g_loss


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (2, 1, 3, 5)])
def test_relativistic_losses_are_the_papers_formulas(shape):
    """Breaks where L_G carries the terms of L_D, as some summaries print it."""
    real, fake = logits(*shape)
    d_loss, g_loss = relativistic_by_the_book(real, fake)

    gan = RelativisticAverageGAN()

    assert gan.discriminator_loss(real, fake).item() == pytest.approx(d_loss, rel=1e-12)
    assert gan.generator_loss(real, fake).item() == pytest.approx(g_loss, rel=1e-12)
    assert d_loss != pytest.approx(g_loss)


@pytest.mark.parametrize("gan", ALL, ids=lambda gan: type(gan).__name__)
def test_gradients_are_those_of_finite_differences(gan):
    """Breaks where a mean is detached: finite differences see the value alone, not the graph."""
    real, fake = (x.requires_grad_() for x in logits(4, 1))

    assert torch.autograd.gradcheck(gan.discriminator_loss, (real, fake))
    if gan.needs_real_in_generator:
        assert torch.autograd.gradcheck(gan.generator_loss, (real, fake))
    else:
        assert torch.autograd.gradcheck(lambda x: gan.generator_loss(None, x), (fake,))


def test_the_toolbox_form_detaches_the_means_in_the_discriminator_alone():
    """By hand: the opposite mean as a number; the value is the same, and so is the generator's loss."""
    real, fake = (x.requires_grad_() for x in logits(4, 1))
    paper, toolbox = RelativisticAverageGAN(), RelativisticAverageGAN(detach_mean_in_discriminator=True)
    by_hand = F.softplus(-(real - fake.mean().item())).mean() + F.softplus(fake - real.mean().item()).mean()
    found = toolbox.discriminator_loss(real, fake)
    assert torch.equal(found, paper.discriminator_loss(real, fake))
    torch.testing.assert_close(
        torch.autograd.grad(found, (real, fake)), torch.autograd.grad(by_hand, (real, fake))
    )
    torch.testing.assert_close(
        *(torch.autograd.grad(gan.generator_loss(real, fake), fake) for gan in (toolbox, paper))
    )


def test_halved_is_half():
    real, fake = logits(4, 1)
    whole, half = RelativisticAverageGAN(), RelativisticAverageGAN(halved=True)
    torch.testing.assert_close(half.generator_loss(real, fake) * 2, whole.generator_loss(real, fake))
    torch.testing.assert_close(half.discriminator_loss(real, fake) * 2, whole.discriminator_loss(real, fake))


def test_standard_loss_is_binary_cross_entropy_on_probabilities():
    real, fake = logits(6, 1)
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    d_loss = F.binary_cross_entropy(real.sigmoid(), ones) + F.binary_cross_entropy(fake.sigmoid(), zeros)
    g_loss = F.binary_cross_entropy(fake.sigmoid(), ones)

    torch.testing.assert_close(StandardGAN().discriminator_loss(real, fake), d_loss)
    torch.testing.assert_close(StandardGAN().generator_loss(None, fake), g_loss)


@pytest.mark.parametrize(
    ("gan", "d_loss", "g_loss"),
    [
        # by hand for C(x_r) = (2, 0), C(x_f) = (−3, 1)
        (LeastSquaresGAN(), 0.5 * (1 + 1) / 2 + 0.5 * (9 + 1) / 2, 0.5 * (16 + 0) / 2),
        (HingeGAN(), (0 + 1) / 2 + (0 + 2) / 2, 1.0),
        (WassersteinGAN(), -1.0 - 1.0, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_worked_out_by_hand(gan, d_loss, g_loss):
    real, fake = torch.tensor([[2.0], [0.0]]), torch.tensor([[-3.0], [1.0]])
    assert gan.discriminator_loss(real, fake).item() == pytest.approx(d_loss)
    assert gan.generator_loss(None, fake).item() == pytest.approx(g_loss)


@pytest.mark.parametrize("gan", [RelativisticAverageGAN(), StandardGAN()], ids=lambda gan: type(gan).__name__)
def test_a_discriminator_far_ahead_gives_finite_losses_with_gradient(gan):
    """log(1 − σ(200)) is −inf in the naive form: the generator would never recover."""
    real, fake = torch.full((2, 1), 200.0), torch.full((2, 1), -200.0, requires_grad=True)

    loss = gan.generator_loss(real, fake)
    loss.backward()

    assert loss.isfinite()
    assert fake.grad.abs().min() > 0.1


@pytest.mark.parametrize("gan", ALL, ids=lambda gan: type(gan).__name__)
def test_half_precision_logits_are_summed_in_float32_and_nan_is_not_hidden(gan):
    real, fake = (x.bfloat16() for x in logits(9, 1))

    for loss in (gan.discriminator_loss, gan.generator_loss):
        assert loss(real, fake).dtype == torch.float32
        torch.testing.assert_close(loss(real, fake), loss(real.float(), fake.float()), rtol=0, atol=0)
        assert loss(real, torch.full_like(fake, torch.nan)).isnan()


def test_a_relativistic_generator_loss_without_real_logits_is_refused():
    with pytest.raises(ValueError, match="real"):
        RelativisticAverageGAN().generator_loss(None, torch.zeros(2, 1))


def test_label_smoothing_is_the_cross_entropy_with_smoothed_targets():
    """Against torch's own, on the relative scores."""
    torch.manual_seed(0)
    real, fake = torch.randn(2, 6, 1, dtype=torch.float64)
    scores = torch.cat((real - fake.mean(), fake - real.mean()))
    targets = torch.tensor([0.9, 0.1], dtype=torch.float64).repeat_interleave(6)[:, None]
    expected = 2 * torch.nn.functional.binary_cross_entropy_with_logits(scores, targets)
    actual = RelativisticAverageGAN(label_smoothing=0.1).discriminator_loss(real, fake)
    torch.testing.assert_close(actual, expected)
    plain, smooth = RelativisticAverageGAN(), RelativisticAverageGAN(label_smoothing=0.1)
    assert plain.generator_loss(real, fake) == smooth.generator_loss(real, fake)


@pytest.mark.parametrize("value", [-0.1, 0.5, 2])
def test_label_smoothing_out_of_range_is_refused(value):
    with pytest.raises(InputError, match="label_smoothing"):
        RelativisticAverageGAN(label_smoothing=value)
