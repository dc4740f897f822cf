"""The chain: which stage comes when, what settings mean, what is refused."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch.nn import functional as F

from esrgan_lightning.data.degradations import Order, RealESRGAN, blur_kernel, jpeg_round_trip, sinc_kernel
from esrgan_lightning.data.degradations.kernels import pulse
from esrgan_lightning.data.degradations.realesrgan import blurred, resize, second_order
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


def test_with_everything_off_only_the_resize_and_two_files_remain(hr):
    expected = through(F.interpolate(through(to_float(hr), 100), (48, 52), mode="area"), 100)
    assert torch.equal(run(hr), to_uint8(expected))


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
        ({"first": Order(blur_sigma=(0, 1))}, r"degradation\.first\.blur_sigma"),
        ({"second": Order(kernel_size=(6, 21))}, r"degradation\.second\.kernel_size=\[6, 21\] must be odd"),
        ({"second": Order(resize_range=(1.1, 1.5))}, r"degradation\.second\.resize_range=.* must hold 1"),
        ({"first": Order(betag_range=(2, 4))}, r"degradation\.first\.betag_range=.* must hold 1"),
        ({"first": Order(kernel_prob={"isotropic": 1})}, r"first\.kernel_prob has no isotropic"),
        ({"first": Order(kernel_prob={"iso": 0})}, r"degradation\.first\.kernel_prob=.* not all of them 0"),
        ({"first": Order(resize_prob={"up": -1, "down": 2})}, r"degradation\.first\.resize_prob"),
        ({"second": Order(jpeg_range=(0, 95))}, r"degradation\.second\.jpeg_range"),
        ({"second": Order(blur_prob=-0.1)}, r"degradation\.second\.blur_prob=-0\.1 is a probability"),
        ({"resize_modes": ["nearest"]}, r"degradation\.resize_modes=\['nearest'\] must be one or more of"),
        ({"resize_modes": []}, r"degradation\.resize_modes=\[\]"),
        ({"final_sinc_prob": 2}, r"degradation\.final_sinc_prob=2"),
        ({"margin": -1}, r"degradation\.margin=-1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        RealESRGAN(**settings)
