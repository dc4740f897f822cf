"""What a figure does not show: tint, a grid on smooth areas, and flat pictures, of every bundled network."""

from functools import cache

import pytest
import torch

from esrgan_lightning import Upscaler
from esrgan_lightning.bundled import bundled_names
from esrgan_lightning.ops import imresize, read_image

pytestmark = pytest.mark.slow


@cache
def upscaler(name):
    return Upscaler(name, device="cpu", pre_pad=8)  # as `esrgan upscale`


def luma(image):
    return (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * image.float()).sum(0)


def grid(hr, sr, lag=4):
    """Autocorrelation of the luma's Laplacian at a lag on smooth 32×32 blocks: (HR's, SR's) by block."""
    laplacians = []
    for y in (luma(hr), luma(sr)):
        around = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:]
        laplacians.append(4 * y[1:-1, 1:-1] - around)
    found = []
    height, width = laplacians[0].shape
    for top in range(0, height - 31, 32):
        for left in range(0, width - 31, 32):
            window = (slice(top, top + 32), slice(left, left + 32))
            if luma(hr)[1:-1, 1:-1][window].std() < 6:
                blocks = [each[window] - each[window].mean() for each in laplacians]
                if all(block.square().mean() > 0 for block in blocks):
                    found.append([correlation(block, lag) for block in blocks])
    return found


def correlation(block, lag):
    across, down = block[:, lag:] * block[:, :-lag], block[lag:] * block[:-lag]
    return float((across.mean() + down.mean()) / 2 / block.square().mean())


def test_the_measure_sees_a_grid():
    """Noise has none; a pattern of period 4 on it has."""
    torch.manual_seed(0)
    hr = (128 + torch.randn(3, 130, 130)).round()
    pattern = torch.zeros(3, 130, 130)
    pattern[:, ::4, ::4] = 4
    of_hr, of_sr = torch.tensor(grid(hr, hr + pattern)).mean(0)
    assert abs(of_hr) < 0.02
    assert of_sr > 0.1


@cache
def seen(name, folder):
    """(largest mean of ↓SR − LR over a channel by photo, mean of HR's and SR's correlation)."""
    tints, found = {}, []
    for file in sorted(folder.glob("*.png")):
        hr = read_image(file)
        lr = imresize(hr, 0.25)
        sr = upscaler(name).upscale(lr)
        tints[file.name] = float((imresize(sr.double(), 0.25) - lr).mean((1, 2)).abs().max())
        found += grid(hr, sr)
    return tints, torch.tensor(found).mean(0)


@pytest.mark.parametrize("name", bundled_names())
def test_no_tint(name, shared):
    tints, _ = seen(name, shared("data/Kodak"))
    assert len(tints) == 24
    assert {file: tint for file, tint in tints.items() if tint >= 1} == {}


@pytest.mark.parametrize("name", bundled_names())
def test_no_grid(name, shared):
    _, (of_hr, of_sr) = seen(name, shared("data/Kodak"))
    assert abs(of_sr - of_hr) < 0.08


@pytest.mark.parametrize("name", bundled_names())
@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_stay_flat(name, level):
    lr = torch.full((3, 48, 56), level, dtype=torch.uint8)
    assert (upscaler(name).upscale(lr).int() - level).abs().max() <= 1
