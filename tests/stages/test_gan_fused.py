"""Both networks' losses from one pass of the discriminator: the values and gradients of two passes."""

import pytest
import torch
from by_hand import batches, discriminator, fit, gan_stage, generator

from esrgan_lightning.losses import RelativisticAverageGAN, StandardGAN
from esrgan_lightning.stages.gan import both_losses


@pytest.mark.parametrize("game", [RelativisticAverageGAN(), StandardGAN()])
@pytest.mark.parametrize("scale", [None, 2.0**7])
def test_both_losses_have_the_values_and_gradients_of_two_passes(game, scale):
    """Breaks if a factor is lost on the way, or a network learns from the other one's loss."""
    g, d, lr = generator().double(), discriminator().double(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    hr = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    whole_g, whole_d = game.generator_loss(d(hr), d(g(lr))), game.discriminator_loss(d(hr), d(g(lr).detach()))
    expected_g = torch.autograd.grad(3 * whole_g, list(g.parameters()))
    expected_d = torch.autograd.grad(whole_d, list(d.parameters()), allow_unused=True)

    loss_g, loss_d, _, _ = both_losses(
        game, d, g(lr), hr, scale=None if scale is None else torch.tensor(scale)
    )
    assert all(p.grad is None for p in d.parameters())
    loss_d.backward()  # frees the discriminator's graph, which L_G must not need any more
    assert all(p.grad is None for p in g.parameters())
    (3 * loss_g).backward()
    assert (loss_g.item(), loss_d.item()) == pytest.approx((whole_g.item(), whole_d.item()), rel=1e-12)
    for network, expected in ((g, expected_g), (d, expected_d)):
        for parameter, gradient in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-14)


def test_five_fused_updates_are_five_of_the_book():
    """Breaks if the stage's faster way is not its `update`.

    Batch norm's running statistics differ, as the book shows D each picture twice; no training reads them.
    """
    after = []
    for fused in (True, False):
        stage = gan_stage(fused=fused, ema_decay=0.9, clip_norm=0.5)
        fit(stage, batches(5))
        after.append(stage.state_dict())
    compared = [name for name in after[0] if "running_" not in name and "num_batches" not in name]
    for name in compared:
        torch.testing.assert_close(after[0][name], after[1][name], rtol=1e-10, atol=1e-10, msg=name)


def test_small_gradients_pass_in_half_precision_where_the_scaler_says_so():
    """Breaks if the scale is taken off in fp16, whose smallest number is 6e-8."""

    class Linear:
        def generator_loss(self, real, fake):
            return fake.float().sum() * 1e-6

        def discriminator_loss(self, real, fake):
            return fake.sum()

    def gradient(scale):
        picture = torch.ones(4, dtype=torch.float16, requires_grad=True)
        loss, *_ = both_losses(Linear(), lambda x: x * 1e-3, picture, picture, scale=torch.tensor(scale))
        (loss * scale).backward()
        return picture.grad.float() / scale

    assert gradient(1.0).abs().max() == 0
    torch.testing.assert_close(gradient(2.0**14), torch.full((4,), 1e-9), rtol=1e-2, atol=0)
