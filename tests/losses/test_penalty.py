"""Gradient penalties: closed forms, a loop by the book, and draws that belong to the sample."""

import pytest
import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import GradientPenalty, R1Penalty
from esrgan_lightning.losses.penalty import _uniform, check_image_by_image
from esrgan_lightning.networks import PatchDiscriminator, UNetDiscriminator, VGGDiscriminator
from esrgan_lightning.networks.batch_norm import synchronize_batch_norm


def images(count=3, side=32, dtype=torch.float64):
    random = torch.Generator().manual_seed(0)
    return [torch.rand(count, 3, side, side, generator=random, dtype=dtype) for _ in range(2)]


def test_a_quadratic_critic_tells_where_it_is_asked():
    """C(x) = ‖x‖²/2 has ∇C = x: with black fakes ‖x̂‖ = ε‖x_r‖ gives each ε away, and R1 the real image."""
    real, _ = images()
    critic = lambda x: x.square().flatten(1).sum(1, keepdim=True) / 2  # noqa: E731
    square = real.flatten(1).square().sum(1)
    assert R1Penalty()(critic, real, 0 * real, numbers=[5, 6, 7], step=0).item() == pytest.approx(
        square.mean().item()
    )
    share = torch.tensor([_uniform(3, number, 0) for number in range(500)])
    one = GradientPenalty(seed=3)(critic, real[:1], 0 * real[:1], numbers=[7], step=0)
    assert one.item() == pytest.approx((share[7].item() * square[0].sqrt().item() - 1) ** 2, rel=1e-5)
    assert 0 <= share.min() < 0.02
    assert 0.98 < share.max() <= 1
    assert share.mean().item() == pytest.approx(0.5, abs=0.05)
    assert share.std().item() == pytest.approx(12**-0.5, abs=0.03)


@pytest.mark.parametrize(
    "critic",
    [
        lambda: VGGDiscriminator(num_features=2, patch_size=32, norm="none"),
        lambda: PatchDiscriminator(num_features=2, num_layers=2, norm="none"),
        lambda: UNetDiscriminator(num_features=2).eval(),  # training moves the estimate of the spectral norm
    ],
)
def test_values_and_gradients_are_those_of_a_loop_over_images(critic):
    """Breaks if images of a batch see each other, a map of logits is summed, or ε is shared by the batch."""
    torch.manual_seed(0)
    net, (real, fake) = critic().double(), images()
    penalty = GradientPenalty(seed=2)
    parameters = [p for p in net.parameters() if p.requires_grad]

    book = {"gradient": 0.0, "r1": 0.0}
    for index, number in enumerate((4, 5, 6)):
        share = _uniform(2, number, 1)
        for name, image in (
            ("gradient", share * real[index] + (1 - share) * fake[index]),
            ("r1", real[index]),
        ):
            x = image[None].requires_grad_()
            gradient = torch.autograd.grad(net(x).mean(), x, create_graph=True)[0]
            norm = gradient.square().sum().sqrt()
            book[name] = book[name] + ((norm - 1) ** 2 if name == "gradient" else norm**2) / 3

    for value, expected in (
        (penalty(net, real, fake, numbers=[4, 5, 6], step=1), book["gradient"]),
        (R1Penalty()(net, real, fake, numbers=[4, 5, 6], step=1), book["r1"]),
    ):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
        mine = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
        theirs = torch.autograd.grad(expected, parameters, allow_unused=True, retain_graph=True)
        assert sum(g is not None and bool(g.abs().max() > 0) for g in mine) >= len(parameters) / 2
        for one, other in zip(mine, theirs, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_draws_belong_to_seed_sample_and_step_alone():
    """Breaks if a share of the batch, or a run that goes on, draws other coefficients."""
    real, fake = images(4)
    critic = lambda x: x.square().flatten(1).sum(1)[:, None]  # noqa: E731

    def penalty(part=slice(None), seed=0, step=0, numbers=(8, 9, 10, 11)):
        state = torch.get_rng_state()
        found = GradientPenalty(seed=seed)(
            critic, real[part], fake[part], numbers=list(numbers)[part], step=step
        )
        assert torch.equal(torch.get_rng_state(), state)
        return found

    halves = (penalty(slice(0, 2)) + penalty(slice(2, 4))) / 2
    torch.testing.assert_close(halves, penalty())
    others = [penalty(seed=1), penalty(step=1), penalty(numbers=(0, 1, 2, 3))]
    assert len({round(each.item(), 6) for each in [penalty(), *others]}) == 4


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1Penalty()])
def test_it_is_computed_in_float32_and_reaches_the_critic_alone(penalty):
    """Breaks if autocast squares a gradient in bf16, or the generator learns from the penalty."""
    net = VGGDiscriminator(num_features=2, patch_size=32, norm="none")
    real, fake = (x.float().requires_grad_() for x in images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = penalty(net, real, fake.bfloat16(), numbers=[0, 1, 2], step=0)
    exact = penalty(net, real, fake.bfloat16(), numbers=[0, 1, 2], step=0)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)
    found.backward()
    assert real.grad is None
    assert fake.grad is None
    assert net.classifier[3].weight.grad.abs().max() > 0


def test_a_flat_critic_has_a_finite_gradient():
    """Breaks if ‖0‖ sends back 0/0: a critic that has died would make every update not finite."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1)).double()
    nn.init.zeros_(net[1].weight)
    penalty = GradientPenalty()(net, *images(), numbers=[0, 1, 2], step=0)
    penalty.backward()
    assert penalty.item() == 1
    assert net[1].weight.grad.isfinite().all()


@pytest.mark.parametrize("change", [lambda net: net, synchronize_batch_norm])
def test_batch_norm_is_refused_with_what_to_take(change):
    with pytest.raises(InputError, match=r"give discriminator\.norm=none, or discriminator=unet"):
        check_image_by_image(change(VGGDiscriminator(num_features=2, patch_size=32)))
    check_image_by_image(VGGDiscriminator(num_features=2, patch_size=32, norm="none"))


@pytest.mark.parametrize("kind", [GradientPenalty, R1Penalty])
@pytest.mark.parametrize("weight", [-1.0, float("nan"), "ten"])
def test_a_wrong_weight_is_named(kind, weight):
    with pytest.raises(InputError, match=r"penalty\.weight="):
        kind(weight=weight)
