"""The chain: which stage comes when, what an order draws, what is refused; kernels by the book and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.ndimage import correlate
from torch.nn import functional as F

from esrgan_lightning.data.degradations import Order, RealESRGAN, blur_kernel, jpeg_round_trip, sinc_kernel
from esrgan_lightning.data.degradations._common import around_one, draws, pick, whole
from esrgan_lightning.data.degradations.realesrgan import (
    MODES,
    blurred,
    odd,
    padded,
    pulse,
    resize,
    second_order,
)
from esrgan_lightning.data.sources import embedded_photos
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_rgb, to_float, to_uint8

QUIET = {
    "blur_prob": 0.0,
    "resize_prob": {"keep": 1},
    "gaussian_noise_prob": 1.0,
    "noise_range": (0, 0),
    "jpeg_range": (100, 100),
}


@pytest.fixture(scope="module")
def hr():
    return read_rgb(embedded_photos()[0].hr)[None, :, 100:292, 100:308].clone()


def run(hr, first=None, second=None, **settings):
    quiet = {"final_sinc_prob": 0.0, "resize_modes": ["area"], "jpeg_last_prob": 1.0}
    orders = (Order(**(QUIET | (own or {}))) for own in (first, second))
    chain = RealESRGAN(*orders, **(quiet | settings))
    return chain(hr, torch.tensor([5]), 4)


def through(image, quality):
    return jpeg_round_trip(image, [quality])


def test_stages_in_their_order(hr):
    """Breaks if the first blur, resize or JPEG is not before the second, or one of them is left out."""
    kernel = {"blur_prob": 1.0, "sinc_prob": 0.0, "kernel_prob": {"iso": 1}, "kernel_size": (9, 9)}
    found = run(
        hr,
        kernel | {"blur_sigma": (2, 2), "jpeg_range": (40, 40)},
        kernel | {"blur_sigma": (1, 1), "jpeg_range": (60, 60)},
    )
    (image,) = blurred([to_float(hr)], [blur_kernel("iso", 9, 2.0)], (9, 9))
    (image,) = blurred([through(image, 40)], [blur_kernel("iso", 9, 1.0)], (9, 9))
    expected = through(F.interpolate(image, (48, 52), mode="area"), 60)
    assert torch.equal(found, to_uint8(expected))


@pytest.mark.parametrize("jpeg_last", [0.0, 1.0])
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("gaussian", [0.0, 1.0])
def test_each_order_adds_its_own_noise_and_then_makes_its_file(order, gaussian, jpeg_last):
    """On flat gray of x = 128/255: σ in levels, or a·√x of one photon, whose square is the variance.

    At quality 10 the finest step of the luma's table is 50. It takes all frequencies of noise of σ = 3 away:
    a file after the noise is flat, a file before it keeps the noise.
    """
    flat = torch.full((1, 3, 96, 96), 128, dtype=torch.uint8)
    noise = {
        "gaussian_noise_prob": gaussian,
        "gray_noise_prob": 1.0,
        "noise_range": (3, 3),
        "poisson_scale_range": (3 / 255 / (128 / 255) ** 0.5,) * 2,
    }

    def found(quality):
        orders = {"first": Order(**QUIET), "second": Order(**QUIET)}
        orders[order] = Order(**QUIET | noise | {"jpeg_range": (quality, quality)})
        chain = RealESRGAN(**orders, final_sinc_prob=0, resize_modes=["area"], jpeg_last_prob=jpeg_last)
        return chain(flat, torch.tensor([5]), 1).double()

    assert found(100).std().item() == pytest.approx(3, rel=0.06)
    assert torch.equal(found(10), flat.double())


def test_the_last_file_comes_before_or_after_the_resize_and_the_sinc_filter(hr):
    """Breaks if the two orders are one, or the sinc filter works at another size than the LR's."""
    sinc = {"final_sinc_prob": 1.0, "final_sinc_size": (21, 21)}
    lossy = {"jpeg_range": (20, 20), "resize_prob": {"down": 1}, "resize_range": (0.5, 1.0)}
    before, after = (run(hr, second=lossy, jpeg_last_prob=share, **sinc) for share in (0.0, 1.0))
    # After a file of the final size, coding once more changes little. After another, it costs again.
    again = [(through(to_float(x), 20) * 255 - x).abs().mean().item() for x in (before, after)]
    assert again[1] < 0.5 * again[0]


def test_resizes_are_relative_to_the_hr_and_then_to_the_lr(hr, monkeypatch):
    import esrgan_lightning.data.degradations.realesrgan as module

    sizes = []

    def spy(image, size, mode):
        sizes.append((tuple(image.shape[-2:]), size, mode))
        return resize(image, size, mode)

    monkeypatch.setattr(module, "resize", spy)
    half = {"resize_prob": {"up": 1}, "resize_range": (1, 1)}
    run(hr, half, {"resize_prob": {"down": 1}, "resize_range": (0.3, 1)}, resize_modes=["bicubic"])
    (first, between, last) = sizes
    assert first == ((192, 208), (192, 208), "bicubic")
    assert between[0] == (192, 208)
    assert 0.3 * 48 - 1 <= between[1][0] <= 48
    assert last == (between[1], (48, 52), "bicubic")


def test_blur_equals_scipys_for_images_of_different_sizes():
    """Breaks if a kernel goes to another image, or the canvas shines through at a border."""
    source = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, h, w, generator=source) for h, w in ((9, 40), (33, 12))]
    kernels = [blur_kernel("aniso", 11, 1.5, 3.0, 0.5), sinc_kernel(1.5, 7)]
    for image, kernel, result in zip(images, kernels, blurred(images, kernels, (7, 21)), strict=True):
        expected = [correlate(plane.numpy(), kernel, mode="nearest") for plane in image[0].double()]
        torch.testing.assert_close(result[0], torch.from_numpy(np.stack(expected)).float(), atol=1e-6, rtol=0)
    assert torch.equal(blurred(images, [pulse(), pulse()], (7, 21))[1], images[1])


@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
def test_resize_is_torchs(mode):
    image = torch.rand(1, 3, 50, 37, generator=torch.Generator().manual_seed(0))
    for size in ((20, 31), (71, 40), (1, 1)):
        expected = F.interpolate(image.double(), size=size, mode=mode)
        torch.testing.assert_close(resize(image, size, mode).double(), expected, atol=5e-5, rtol=0)


def test_defaults_are_the_published_settings():
    """Real-ESRGAN's option file for ×4, as the authors published it."""
    chain = RealESRGAN()
    assert chain.first == Order().checked("first")
    assert chain.second == second_order().checked("second")
    assert (chain.first.blur_sigma, chain.second.blur_sigma) == ((0.2, 3), (0.2, 1.5))
    assert (chain.first.resize_range, chain.second.resize_range) == ((0.15, 1.5), (0.3, 1.2))
    assert list(chain.second.resize_prob.values()) == [0.3, 0.4, 0.3]
    assert (chain.second.noise_range, chain.second.poisson_scale_range) == ((1, 25), (0.05, 2.5))
    assert (chain.second.blur_prob, chain.final_sinc_prob, chain.margin) == (0.8, 0.8, 18)


@pytest.mark.parametrize("side", [16, 64])
def test_the_smallest_images_pass(side):
    """Breaks if a picture of a few pixels meets a kernel of 21."""
    source = torch.Generator().manual_seed(1)
    hr = torch.randint(0, 256, (24, 3, side, side), dtype=torch.uint8, generator=source)
    assert RealESRGAN()(hr, torch.arange(24), 4).shape == (24, 3, side // 4, side // 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": Order(blur_sigma=(3, 0.2))}, r"degradation\.first\.blur_sigma=\[3, 0\.2\] must be"),
        ({"second": Order(kernel_size=(6, 21))}, r"degradation\.second\.kernel_size=\[6, 21\] must be odd"),
        ({"second": Order(resize_range=(1.1, 1.5))}, r"degradation\.second\.resize_range=.* must hold 1"),
        ({"first": Order(kernel_prob={"isotropic": 1})}, r"first\.kernel_prob has no isotropic"),
        ({"first": Order(kernel_prob={"iso": 0})}, r"degradation\.first\.kernel_prob=.* not all of them 0"),
        ({"second": Order(jpeg_range=(0, 95))}, r"degradation\.second\.jpeg_range"),
        ({"second": Order(blur_prob=-0.1)}, r"degradation\.second\.blur_prob=-0\.1 is a probability"),
        ({"resize_modes": ["nearest"]}, r"degradation\.resize_modes=\['nearest'\] must be one or more of"),
        ({"margin": -1}, r"degradation\.margin=-1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        RealESRGAN(**settings)


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


def moments(kernel):
    """Mean and covariance of (x, y) under the kernel as a density."""
    y, x = np.mgrid[: len(kernel), : len(kernel)]
    points = np.stack([x.ravel(), y.ravel()])
    return np.average(points, axis=1, weights=kernel.ravel()), np.cov(points, aweights=kernel.ravel(), ddof=0)


def covariance(sigma_x, sigma_y, angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T


@pytest.mark.parametrize("angle", [0.0, 0.6, -2.1, math.pi])
def test_gaussian_has_the_covariance_that_was_asked_for(angle):
    """Breaks if axes are swapped, the angle turns the wrong way, or σ is taken for a variance."""
    mean, measured = moments(blur_kernel("aniso", 41, 3.0, 1.5, angle))
    np.testing.assert_allclose(mean, 20, atol=1e-12)
    np.testing.assert_allclose(measured, covariance(3.0, 1.5, angle), atol=2e-3)
    _, measured = moments(blur_kernel("iso", 41, 3.0, 1.5, angle))  # takes neither the other σ nor the angle
    np.testing.assert_allclose(measured, 9 * np.eye(2), atol=2e-3)


def test_densities_are_those_of_the_book():
    """Breaks if β, the half in the exponent or the plateau's one is lost."""
    sigma = covariance(2.0, 1.2, 0.4)
    y, x = np.mgrid[-7:8, -7:8]
    points = np.stack([x, y], -1)
    q = np.einsum("...i,ij,...j", points, np.linalg.inv(sigma), points)
    expected = {
        "aniso": stats.multivariate_normal([0, 0], sigma).pdf(points),
        "generalized_aniso": np.exp(-(q**0.7) / 2),
        "plateau_aniso": 1 / (q**0.7 + 1),
    }
    for kind, density in expected.items():
        kernel = blur_kernel(kind, 15, 2.0, 1.2, 0.4, 0.7)
        np.testing.assert_allclose(kernel, density / density.sum(), rtol=1e-10)


@pytest.mark.parametrize("size", [7, 13, 21])
def test_sinc_is_the_bessel_function(size):
    cutoff = 1.7
    y, x = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]
    r = np.hypot(x, y)
    r[size // 2, size // 2] = 1e-6  # near enough to the limit
    expected = cutoff * special.j1(cutoff * r) / (2 * math.pi * r)
    # torch's J1 is good to 5e-7.
    np.testing.assert_allclose(sinc_kernel(cutoff, size), expected / expected.sum(), atol=1e-7)


def test_padding_keeps_the_centre():
    assert padded(pulse(), 5)[2, 2] == 1
    assert padded(pulse(), 5).sum() == 1
    kernel = blur_kernel("iso", 7, 1.0)
    np.testing.assert_array_equal(padded(kernel, 21)[7:14, 7:14], kernel)
