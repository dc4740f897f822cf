"""What an order draws: every option's extremes, in the shares that were asked for."""

import math

import numpy as np
import pytest

from esrgan_lightning.data.degradations import Order, sinc_kernel
from esrgan_lightning.data.degradations._common import around_one, draws, pick, whole
from esrgan_lightning.data.degradations.order import MODES, odd

COUNT = 3000


def steps(count=COUNT, **settings):
    order = Order(**settings).checked("first")
    return [order.draw(draws(0, n), MODES) for n in range(count)]


def share(found):
    return np.mean(list(found))


def test_published_shares_and_ranges_are_reached():
    """Breaks if a probability is reversed, a range is cut short or two draws hang together."""
    found = steps()
    factors = np.array([step.factor for step in found])
    assert share(factors > 1) == pytest.approx(0.2, abs=0.03)
    assert share(factors < 1) == pytest.approx(0.7, abs=0.03)
    assert share(factors == 1) == pytest.approx(0.1, abs=0.03)
    assert 0.15 <= factors.min() < 0.16
    assert 1.49 < factors.max() <= 1.5

    gaussian = [step for step in found if step.gaussian]
    poisson = [step for step in found if not step.gaussian]
    assert len(gaussian) / COUNT == pytest.approx(0.5, abs=0.03)
    for some, low, high in ((gaussian, 1, 30), (poisson, 0.05, 3)):
        strengths = [step.strength for step in some]
        assert low <= min(strengths) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < max(strengths) <= high
        assert share(step.gray for step in some) == pytest.approx(0.4, abs=0.04)

    assert {step.quality for step in found} == set(range(30, 96))
    assert {len(step.kernel) for step in found} == set(range(7, 22, 2))
    for mode in MODES:
        assert share(step.mode == mode for step in found) == pytest.approx(1 / 3, abs=0.03)
    ringing = share(step.kernel.min() < 0 for step in found)
    assert ringing == pytest.approx(0.1, abs=0.02)  # of all the kernels the sinc alone has negative values


def test_blur_can_be_left_out():
    assert share(len(step.kernel) == 1 for step in steps(blur_prob=0.8)) == pytest.approx(0.2, abs=0.03)
    assert all(len(step.kernel) == 1 for step in steps(50, blur_prob=0.0))


def test_sigmas_reach_both_ends_and_axes_are_drawn_apart():
    only = {"sinc_prob": 0.0, "kernel_size": (21, 21), "blur_sigma": (1, 2)}
    y, x = np.mgrid[-10:11, -10:11]

    def spreads(kind):
        """Standard deviations along the principal axes, and the angle of the longer one."""
        for step in steps(600, kernel_prob={kind: 1}, **only):
            flat = step.kernel.ravel()
            values, axes = np.linalg.eigh(np.cov(np.stack([x.ravel(), y.ravel()]), aweights=flat, ddof=0))
            yield (*np.sqrt(values), math.atan2(axes[1, 1], axes[0, 1]) % math.pi)

    short, long, _ = np.array(list(spreads("iso"))).T
    np.testing.assert_allclose(short, long, rtol=1e-6)
    assert 0.99 < short.min() < 1.02
    assert 1.97 < long.max() < 2.01
    short, long, angle = np.array(list(spreads("aniso"))).T
    assert 0.99 < short.min() < 1.05
    assert 1.95 < long.max() < 2.01
    assert (long - short).max() > 0.8
    assert np.histogram(angle, bins=4, range=(0, math.pi))[0].min() > 100  # turned to every side


def test_half_of_the_exponents_lie_below_one():
    """Breaks if β is drawn evenly over its range: few kernels would have heavy tails."""
    shares = np.linspace(0, 1, 1001)
    betas = np.array([around_one((0.5, 4.0), value) for value in shares])
    assert (betas[0], betas[500], betas[-1]) == (0.5, 1.0, 4.0)
    assert np.all(np.diff(betas) >= 0)


def test_small_sinc_kernels_keep_to_the_higher_cutoffs():
    """Breaks if a kernel of 7 pixels gets a wave that does not fit into it."""
    for size, lowest in ((7, math.pi / 3), (13, math.pi / 5)):
        peaks = [step.kernel.max() for step in steps(800, sinc_prob=1.0, kernel_size=(size, size))]
        assert min(peaks) == pytest.approx(sinc_kernel(lowest, size).max(), rel=0.02)
        assert max(peaks) == pytest.approx(sinc_kernel(math.pi, size).max(), rel=0.02)


def test_changing_one_setting_leaves_the_other_draws():
    """Breaks if an ablation of one option changes all the others too."""
    for one, other in zip(
        steps(50), steps(50, blur_prob=0.0, sinc_prob=0.5, noise_range=(1, 2)), strict=True
    ):
        assert (one.factor, one.mode, one.quality, one.gray) == (
            other.factor,
            other.mode,
            other.quality,
            other.gray,
        )


def test_whole_numbers_and_names_at_the_ends_of_the_unit_interval():
    last = np.nextafter(1, 0)
    assert (whole((30, 95), 0.0), whole((30, 95), last)) == (30, 95)
    assert (odd((7, 21), 0.0), odd((7, 21), last)) == (7, 21)
    weights = {"a": 0.0, "b": 1.0, "c": 3.0, "d": 0.0}
    assert [pick(weights, value) for value in (0.0, 0.2499, 0.25, last)] == ["b", "b", "c", "c"]
