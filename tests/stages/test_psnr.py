"""The PSNR stage against plain torch, and its validation against the metrics themselves."""

import copy
import functools

import pytest
import torch
from by_hand import adam, batches, fit, generator, psnr_stage
from torch import nn

from esrgan_lightning.metrics import psnr_y, ssim_y


@pytest.mark.parametrize("accumulate", [1, 2])
def test_updates_equal_the_book(accumulate):
    """Breaks if the loss, the step or the averaging over accumulated batches is not plain torch's."""
    data, book = batches(4), generator().double()
    stage = psnr_stage(accumulate=accumulate)
    fit(stage, data)
    optimizer = adam(book.parameters())
    for first in range(0, 4, accumulate):
        part = data[first : first + accumulate]
        lr, hr = (torch.cat([each[key].double() for each in part]) for key in ("lr", "hr"))
        optimizer.zero_grad()
        (book(lr) - hr).abs().mean().backward()
        optimizer.step()
    for mine, expected in zip(stage.generator.parameters(), book.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-7, atol=1e-9)


def test_validation_is_the_mean_over_whole_images_by_the_averaged_network():
    """Breaks if squared errors are pooled over images, SR is not clamped, or the raw weights are judged."""
    stage = psnr_stage(ema_decay=0.5)
    trainer = fit(stage, batches(3), validate=3, val_check_interval=3, precision="32-true")
    with torch.no_grad():
        pairs = [(stage.ema.module(i["lr"]).clamp(0, 1), i["hr"]) for i in batches(3, size=1)]
    for name, function, tolerance in (("psnr_y", psnr_y, 1e-4), ("ssim_y", ssim_y, 1e-6)):
        mean = sum(float(function(sr, hr, 2)) for sr, hr in pairs) / 3
        assert float(trainer.callback_metrics[f"val/{name}"]) == pytest.approx(mean, abs=tolerance)


def test_metrics_start_anew_at_each_validation():
    """Breaks if the second validation averages the first one in."""
    figures = [
        fit(
            psnr_stage(optimizer=functools.partial(torch.optim.SGD, lr=0.0)),
            batches(count),
            validate=2,
            val_check_interval=1,
        ).callback_metrics["val/psnr_y"]
        for count in (1, 2)
    ]
    assert figures[1] == pytest.approx(figures[0])


def test_a_generator_of_ones_own_without_batch_norm_or_hydra():
    """Breaks if the stage needs more of a network than `scale`."""

    class Own(nn.Module):
        scale = 2

        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 3, 2, stride=2)

        def forward(self, lr):
            return self.up(lr)

    own = Own()
    before = copy.deepcopy(own)
    fit(psnr_stage(generator=own), batches(1))
    assert not torch.equal(own.up.weight, before.up.weight.double())
