"""One GAN update against the book: plain torch, the paper's formulas, float64."""

import copy
import functools

import pytest
import torch
from by_hand import WEIGHTS, adam, batches, discriminator, fit, gan_stage, generator
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import GradientPenalty, R1Penalty, StandardGAN, WassersteinGAN, WeightedLoss
from esrgan_lightning.networks import VGGDiscriminator
from esrgan_lightning.stages import GANStage
from esrgan_lightning.stages.gan import both_losses

ORDERS = ("generator", "discriminator")


def relativistic(real, fake):
    """(L_G, L_D) as ESRGAN §3.2 prints them, with σ and log instead of a stable form."""
    real_score, fake_score = torch.sigmoid(real - fake.mean()), torch.sigmoid(fake - real.mean())
    loss_g = -torch.log(1 - real_score).mean() - torch.log(fake_score).mean()
    return loss_g, -torch.log(real_score).mean() - torch.log(1 - fake_score).mean()


def standard(real, fake):
    real_score, fake_score = torch.sigmoid(real), torch.sigmoid(fake)
    return -torch.log(fake_score).mean(), -torch.log(real_score).mean() - torch.log(1 - fake_score).mean()


def by_the_book(g, d, data, *, first="generator", d_steps=1, clip=None, game=relativistic, make=adam):
    """Alternating steps, one pair a batch: (generator, discriminator) after them."""
    g, d = copy.deepcopy(g).double(), copy.deepcopy(d).double()
    opt_g, opt_d = make(g.parameters()), make(d.parameters())

    def step(loss, optimizer, network):
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            norm = torch.sqrt(sum((p.grad**2).sum() for p in network.parameters()))
            for p in network.parameters():
                p.grad *= min(1.0, clip / (norm + 1e-6))  # torch's guard against a norm of 0
        optimizer.step()

    for batch in data:
        lr, hr = batch["lr"].double(), batch["hr"].double()
        before = g(lr)  # both turns judge what the generator made at the start of the update
        fixed = before.detach()

        def generator_turn(sr=before, hr=hr):
            loss = WEIGHTS["pixel"] * (sr - hr).abs().mean() + WEIGHTS["adversarial"] * game(d(hr), d(sr))[0]
            step(loss, opt_g, g)

        def discriminator_turn(fixed=fixed, hr=hr):
            for _ in range(d_steps):
                step(game(d(hr), d(fixed))[1], opt_d, d)

        turns = [generator_turn, discriminator_turn]
        for turn in turns if first == "generator" else reversed(turns):
            turn()
    return g, d


def wasserstein_gp(g, d, data, *, first, d_steps):
    """WGAN-GP (Gulrajani et al. 2017, algorithm 1) by hand; each ε is the library's."""
    g, d = copy.deepcopy(g).double(), copy.deepcopy(d).double()
    opt_g, opt_d = adam(g.parameters()), adam(d.parameters())

    def share(number, step):
        seen = []
        probe = lambda x: (seen.append(x.detach()), x.sum((1, 2, 3))[:, None])[1]  # noqa: E731
        one = torch.ones(1, 3, 1, 1).double()
        GradientPenalty(seed=5)(probe, one, 0 * one, numbers=[number], step=step)
        return seen[0].flatten()[0]

    def penalty(hr, sr, numbers, step):
        total = 0.0
        for real, fake, number in zip(hr, sr, numbers, strict=True):
            e = share(number, step)
            x = (e * real + (1 - e) * fake)[None].requires_grad_()
            gradient = torch.autograd.grad(d(x).sum(), x, create_graph=True)[0]
            total = total + (gradient.square().sum().sqrt() - 1) ** 2 / len(hr)
        return total

    for batch in data:
        hr = batch["hr"].double()
        sr = g(batch["lr"].double())
        for turn in (first, "discriminator" if first == "generator" else "generator"):
            if turn == "generator":
                opt_g.zero_grad()
                (WEIGHTS["pixel"] * (sr - hr).abs().mean() - WEIGHTS["adversarial"] * d(sr).mean()).backward()
                opt_g.step()
                continue
            for step in range(d_steps):
                opt_d.zero_grad()
                fixed = sr.detach()
                loss = d(fixed).mean() - d(hr).mean() + 10 * penalty(hr, fixed, batch["number"], step)
                loss.backward()
                opt_d.step()
    return g, d


def assert_equal(stage, networks):
    for mine, book in zip((stage.generator, stage.discriminator), networks, strict=True):
        for (name, parameter), expected in zip(mine.named_parameters(), book.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("d_steps", [1, 2])
@pytest.mark.parametrize("first", ORDERS)
def test_updates_equal_the_book(first, d_steps):
    """Breaks if a sign, a weight, the order, the detaching or the number of steps is wrong."""
    data = batches(3)
    stage = gan_stage(order=f"{first}_first", discriminator_steps=d_steps)
    fit(stage, data)
    assert_equal(stage, by_the_book(generator(), discriminator(), data, first=first, d_steps=d_steps))


def numbered(count):
    data = batches(count)
    return [batch | {"number": [2 * n, 2 * n + 1]} for n, batch in enumerate(data)]


@pytest.mark.parametrize("d_steps", [1, 2])
@pytest.mark.parametrize("first", ORDERS)
def test_updates_with_a_gradient_penalty_equal_the_book(first, d_steps):
    """Breaks if λ, a step's own ε, the pictures of the update or the graph to the discriminator is wrong."""
    data, judge = numbered(2), discriminator(norm="none")
    game = WassersteinGAN(penalty=GradientPenalty(seed=5))
    stage = gan_stage(
        order=f"{first}_first", discriminator_steps=d_steps, discriminator=judge, adversarial=game
    )
    trainer = fit(stage, data)
    book = wasserstein_gp(generator(), discriminator(norm="none"), data, first=first, d_steps=d_steps)
    assert_equal(stage, book)
    assert trainer.callback_metrics["train/gradient_penalty"] > 0


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
@pytest.mark.parametrize("penalty", [GradientPenalty(), R1Penalty()])
def test_a_penalty_in_mixed_precision_and_with_a_compiled_discriminator(precision, penalty):
    """Breaks if the second derivative goes through a compiled network, which has none, or through bf16."""
    stage = gan_stage(discriminator=discriminator(norm="none"), adversarial=StandardGAN(penalty=penalty))
    stage.discriminator.compile(backend="aot_eager")
    torch._functorch.config.donated_buffer = False
    trainer = fit(stage, numbered(2), precision=precision)
    assert trainer.callback_metrics["train/gradient_penalty"].isfinite()
    assert stage.skipped == 0


def test_a_penalty_is_refused_beside_batch_norm_and_without_sample_numbers():
    """Breaks if either is found out after a week, or never."""
    game = WassersteinGAN(penalty=GradientPenalty())
    with pytest.raises(InputError, match=r"discriminator\.norm=none"):
        gan_stage(adversarial=game)
    with pytest.raises(InputError, match='"number"'):
        fit(gan_stage(adversarial=game, discriminator=discriminator(norm="none")), batches(1))


@pytest.mark.parametrize("fused", [True, False])
def test_accumulated_batches_make_one_update_of_the_doubled_batch(fused):
    """Breaks if a gradient is summed instead of averaged, or a network steps before the last batch.

    A mean over the batch (relativistic, batch norm) is that of each small batch: here there is none.
    """
    data = batches(4)
    stage = gan_stage(
        fused=fused, accumulate=2, discriminator=discriminator(norm="none"), adversarial=StandardGAN()
    )
    trainer = fit(stage, data)
    doubled = [{key: torch.cat([one[key], two[key]]) for key in one} for one, two in (data[:2], data[2:])]
    book = by_the_book(generator(), discriminator(norm="none"), doubled, game=standard)
    assert_equal(stage, book)
    assert trainer.global_step == 2


def test_clipping_bounds_the_norm_of_each_network():
    """Breaks if only one network is clipped, or both by one common norm."""
    data, sgd = batches(2), functools.partial(torch.optim.SGD, lr=1.0)  # Adam hardly sees a gradient's size
    stage = gan_stage(clip_norm=1e-3, optimizer=sgd)
    fit(stage, data)
    assert_equal(stage, by_the_book(generator(), discriminator(), data, clip=1e-3, make=sgd))


class Counted(VGGDiscriminator):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize(
    ("settings", "calls"),
    [({}, 2), ({"fused": False}, 4), ({"discriminator_steps": 2}, 6), ({"order": "discriminator_first"}, 4)],
)
def test_the_discriminator_runs_once_per_image_set_where_that_is_exact(settings, calls):
    torch.manual_seed(2)
    judge = Counted(num_features=2, patch_size=32)
    fit(gan_stage(discriminator=judge, **settings), batches(1))
    assert judge.calls == calls


def test_an_update_of_ones_own_is_what_trains():
    """Breaks if the faster way of the library's update stands in for it."""

    class Mine(GANStage):
        def update(self, batch):
            self.seen = True
            return super().update(batch)

    networks = {"generator": generator(), "discriminator": discriminator()}
    losses = WeightedLoss({"pixel": nn.L1Loss()}, WEIGHTS, given=["adversarial"])
    stage = Mine(**networks, losses=losses, adversarial=StandardGAN(), optimizer=adam)
    fit(stage, batches(1))
    assert stage.seen


def test_adversarial_weight_zero_leaves_the_pixel_loss_alone():
    """Breaks if a term of weight 0 is still computed or still counted."""
    losses = WeightedLoss({"pixel": nn.L1Loss()}, {"pixel": 1.0, "adversarial": 0.0}, given=["adversarial"])
    data, net = batches(1), generator().double()
    stage = gan_stage(losses=losses)
    fit(stage, data)
    optimizer = adam(net.parameters())
    (net(data[0]["lr"].double()) - data[0]["hr"].double()).abs().mean().backward()
    optimizer.step()
    for mine, expected in zip(stage.generator.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, expected)


def test_own_optimiser_and_schedule_of_the_discriminator():
    """Breaks if the discriminator silently gets the generator's learning rate."""
    stage = gan_stage(
        discriminator_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        schedule=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=9),
        discriminator_schedule=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 0.1),
    )
    trainer = fit(stage, batches(1))
    assert [type(optimizer).__name__ for optimizer in trainer.optimizers] == ["Adam", "SGD"]
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [5e-4, 0.1]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"order": "both"}, "stage.order='both'"),
        ({"discriminator_steps": 0}, "stage.discriminator_steps=0"),
        ({"accumulate": 0}, "stage.accumulate=0"),
        ({"accumulate": 2, "order": "discriminator_first"}, "stage.accumulate=2 goes with"),
        ({"accumulate": 2, "discriminator_steps": 2}, "stage.accumulate=2 goes with"),
        ({"clip_norm": 0.0}, "stage.clip_norm=0.0"),
        ({"ema_decay": 1.0}, "stage.ema_decay=1.0"),
    ],
)
def test_settings_out_of_range_are_named(settings, named):
    """Breaks if a wrong setting is found only when a number is already wrong."""
    with pytest.raises(InputError, match=named):
        gan_stage(**settings)


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
