"""What lies between two networks, against blending and measuring by hand."""

import pytest
import torch

from esrgan_lightning import Upscaler
from esrgan_lightning.evaluation import TestPair
from esrgan_lightning.evaluation.alpha_sweep import alpha_sweep, animation, strip
from esrgan_lightning.metrics import psnr_y
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_rgb, to_uint8, write_image
from esrgan_lightning.weights import interpolate


def net(seed):
    torch.manual_seed(seed)
    return RRDBNet(num_features=4, num_blocks=1, growth_channels=2, init_scale=1.0).eval()


@pytest.fixture
def found(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("a", "b"):
        noise = torch.rand(1, 3, 6, 7, generator=generator)
        smooth = torch.nn.functional.interpolate(noise, scale_factor=8, mode="bicubic")[0]
        write_image(tmp_path / f"{name}.png", to_uint8(smooth.clamp(0, 1)))
    pairs = [TestPair(tmp_path / f"{name}.png") for name in ("a", "b")]
    nets = net(0), net(1)
    states = nets[0].state_dict(), nets[1].state_dict()
    return nets, pairs, alpha_sweep(states, nets[0].spec, pairs, alphas=[0, 0.3, 1], metrics=["psnr_y"])


def test_each_picture_and_figure_is_that_of_its_network(found):
    """Breaks if a network is used after the next was blended into it, or images fall out of order."""
    nets, pairs, sweep = found
    for index, alpha in enumerate(sweep.alphas):
        blended = net(0)
        blended.load_state_dict(interpolate(nets[0].state_dict(), nets[1].state_dict(), alpha))
        upscaler, figures = Upscaler(blended), []
        for pair, pictures in zip(pairs, sweep.pictures, strict=True):
            lr, hr = pair.load(4)
            assert torch.equal(pictures[index], upscaler.upscale(lr))
            figures.append(psnr_y(pictures[index][None], hr[None], 4).item())
        assert sweep.values["psnr_y"][index] == pytest.approx(sum(figures) / 2)


def test_mixed_pictures_are_those_of_the_ends(found):
    _, pairs, sweep = found
    for mixed, pictures in zip(sweep.mixed, sweep.pictures, strict=True):
        assert torch.equal(mixed[0], pictures[0])
        assert torch.equal(mixed[-1], pictures[-1])
        exact = 0.7 * pictures[0].double() + 0.3 * pictures[-1].double()
        assert (mixed[1] - exact).abs().max() <= 0.5 + 1e-4
    assert sweep.mixed_values["psnr_y"][0] == sweep.values["psnr_y"][0]
    assert sweep.mixed_values["psnr_y"][1] != sweep.values["psnr_y"][1]
    assert read_rgb(pairs[0].hr).shape == sweep.pairs[0][1].shape


def test_pictures_of_a_sweep(found):
    """A row for each image and each way of mixing; the animation goes there and back."""
    _, _, sweep = found
    assert strip(sweep, window=16).shape[0] == 3
    shown = strip(sweep, window=32)
    column = (shown.shape[-1] - 4) // (len(sweep.alphas) + 4)
    assert (shown[:, 40:, 4:column] < 128).any(), "the rows say nothing"
    assert strip(sweep, window=16).shape[1] < strip(sweep, window=32).shape[1]
    assert animation(sweep, "GIF").startswith(b"GIF89a")
