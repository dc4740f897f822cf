"""Learning rates against torch's own schedulers and against the paper's figures."""

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from esrgan_lightning.errors import InputError
from esrgan_lightning.stages.schedules import constant, cosine, cosine_restarts, milestones

LR = 2e-4


def optimizer():
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)


def rates(make, updates):
    """The rate that each update is trained at."""
    given = optimizer()
    schedule, seen = make(given), []
    for _ in range(updates):
        seen.append(given.param_groups[0]["lr"])
        given.step()
        schedule.step()
    return seen


def test_milestones_are_torchs_multisteplr():
    """Breaks if a milestone comes an update early or late."""
    ours = rates(lambda o: milestones(o, [5, 3, 9], gamma=0.5), 12)
    assert ours == pytest.approx(rates(lambda o: lr_scheduler.MultiStepLR(o, [3, 5, 9], gamma=0.5), 12))
    assert ours[2:6] == pytest.approx([LR, LR / 2, LR / 2, LR / 4])


def test_cosine_is_torchs_cosineannealinglr():
    """Breaks if the end of the run is not the end of the half cosine, or the floor is added on top."""
    ours = rates(lambda o: cosine(o, 20, lr_min=1e-6), 21)
    assert ours == pytest.approx(rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=1e-6), 21))
    assert ours[-1] == pytest.approx(1e-6)


def test_restarts_are_torchs_warm_restarts():
    """Breaks if a period begins with the floor of the one before, or a later period has another peak."""
    ours = rates(lambda o: cosine_restarts(o, [6, 6, 6], lr_min=1e-7), 18)
    torchs = rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 6, eta_min=1e-7), 18)
    assert ours == pytest.approx(torchs)
    uneven = rates(lambda o: cosine_restarts(o, [2, 4], lr_min=1e-7), 9)
    assert [uneven[0], uneven[2]] == pytest.approx([LR, LR])
    assert uneven[6:] == pytest.approx([1e-7] * 3)  # after the last period: the floor


def test_warm_up_rises_linearly_and_ends():
    """Breaks if the first update has rate 0 (lost), or the warm-up shifts the schedule behind it."""
    ours = rates(lambda o: constant(o, warmup=4), 7)
    assert ours == pytest.approx([LR * share for share in (0.2, 0.4, 0.6, 0.8, 1, 1, 1)])
    warmed = rates(lambda o: milestones(o, [6], warmup=2), 8)
    assert warmed == pytest.approx([LR * share for share in (1 / 3, 2 / 3, 1, 1, 1, 1, 0.5, 0.5)])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda o: constant(o, warmup=-1), "schedule.warmup=-1"),
        (lambda o: cosine_restarts(o, []), r"schedule.periods=\[\]"),
        (lambda o: cosine(o, 0), r"schedule.periods=\[0\]"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    """Breaks if a division by zero speaks instead."""
    with pytest.raises(InputError, match=named):
        make(optimizer())
