"""Stages and generators that take maps: each call has its own batch's maps, and neither goes without."""

import pytest
import torch
from by_hand import batches, discriminator, fit, gan_stage, psnr_stage
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import SFTNet
from esrgan_lightning.stages.base import super_resolve


class Watched(nn.Module):
    """Takes maps that are a function of the LR, and looks whether they are that of this LR."""

    classes, scale = ("bright", "dark"), 2

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.inner = SFTNet(self.classes, num_features=4, num_blocks=1, scale=2, init_scale=1)
        self.calls = 0

    def forward(self, lr, conditions):
        self.calls += 1
        torch.testing.assert_close(conditions, maps_of(lr))
        return self.inner(lr, conditions)


def maps_of(lr):
    bright = lr.mean(1, keepdim=True)
    return torch.cat([bright, 1 - bright], 1)


def with_maps(count, **sizes):
    return [batch | {"conditions": maps_of(batch["lr"])} for batch in batches(count, **sizes)]


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (psnr_stage, {}),
        (psnr_stage, {"accumulate": 2}),
        (gan_stage, {}),
        (gan_stage, {"accumulate": 2}),
        (gan_stage, {"order": "discriminator_first"}),
        (gan_stage, {"order": "generator_first", "discriminator_steps": 2}),
    ],
)
def test_each_call_of_the_generator_has_the_maps_of_its_own_batch(make, settings):
    """Breaks if a turn calls the generator without maps, or with those of the batch before."""
    generator = Watched()
    before = [p.clone() for p in generator.parameters()]
    stage = make(generator=generator, **settings)
    fit(stage, with_maps(4))
    assert generator.calls >= 4
    changed = [not torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True)]
    assert all(changed)


def test_validation_and_the_moving_average_have_the_maps_too():
    stage = psnr_stage(generator=Watched(), ema_decay=0.5)
    with torch.no_grad():
        batch = with_maps(1, size=1)[0]
        expected = stage(batch["lr"], batch["conditions"]).clamp(0, 1)
        assert torch.equal(stage.validation_step(batch, 0), expected)
    assert stage.ema.module.calls == 2
    assert stage.generator.calls == 0


def test_a_batch_without_maps_and_maps_without_use_are_refused():
    """Never uniform maps in silence, and never maps that nobody looks at."""
    with pytest.raises(
        InputError, match=r"takes maps of bright, dark: give conditions=maps conditions\.dir=DIR"
    ):
        super_resolve(Watched(), batches(1)[0])
    with pytest.raises(InputError, match=r"takes no maps: .* generator=sft"):
        super_resolve(psnr_stage().generator, with_maps(1)[0])


def test_the_discriminator_never_sees_the_maps():
    """SR and HR alone: a discriminator of three channels serves both kinds of generator."""
    judge, seen = discriminator(), []
    judge.register_forward_pre_hook(lambda _, images: seen.extend(images))
    (batch,) = with_maps(1)
    with torch.no_grad():
        sr = Watched().double()(batch["lr"].double(), batch["conditions"].double())
    fit(gan_stage(generator=Watched(), discriminator=judge), [batch])
    torch.testing.assert_close(seen, [batch["hr"].double(), sr])
