"""The codec against libjpeg (through Pillow)."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from esrgan_lightning.data.degradations import BicubicJpeg, jpeg_round_trip
from esrgan_lightning.data.sources import embedded_photos
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import imresize, read_rgb, to_float, to_uint8


def libjpeg(image, quality):
    """uint8 (3,H,W) through a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


@pytest.fixture(scope="module")
def photo():
    """A photo's LR, its sides no multiple of 16 and one of them odd."""
    return imresize(read_rgb(embedded_photos()[0].hr)[:, :1000, :1000], 1 / 4)[:, :203, :214]


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 75, 95, 100])
def test_equals_libjpeg_in_nearly_every_value(photo, quality):
    """Breaks if a table, the chroma, a rounding or the edges are not libjpeg's."""
    ours = jpeg_round_trip(to_float(photo)[None], [quality])[0]
    theirs = libjpeg(photo, quality)
    error = (ours * 255).round() - theirs
    assert (error == 0).double().mean() > 0.96
    assert 10 * torch.log10(255**2 / error.square().mean()) > 52
    lost, loss = ((photo - 255 * decoded).square().mean().item() for decoded in (ours, theirs / 255))
    assert lost == pytest.approx(loss, rel=0.02)


def test_each_image_has_its_own_quality(photo):
    """Breaks if one table serves the batch, or the batch changes a bit."""
    batch = to_float(photo)[None].expand(3, -1, -1, -1)
    together = jpeg_round_trip(batch, [20, 90, 55])
    alone = [jpeg_round_trip(batch[:1], [quality])[0] for quality in (20, 90, 55)]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_flat_gray_comes_back_at_the_highest_quality(level):
    image = torch.full((1, 3, 5, 1), level / 255)  # also: smaller than a block
    assert torch.equal(to_uint8(jpeg_round_trip(image, [100])), torch.full_like(image, level).to(torch.uint8))


def test_values_beyond_the_range_are_clamped():
    image = torch.linspace(-0.5, 1.5, 256).expand(1, 3, 16, 256)
    assert torch.equal(jpeg_round_trip(image, [90]), jpeg_round_trip(image.clamp(0, 1), [90]))


def test_nothing_beyond_sixteen_pixels_is_felt(photo):
    """Breaks the margin of 18 (2 of them are the bicubic's) if the codec reaches further."""
    image = to_float(photo)[None]
    for top in range(40, 56, 3):
        inner = (..., slice(top, top + 30), slice(top + 1, top + 41))
        near = (..., slice(top - 16, top + 46), slice(top - 15, top + 57))
        other = torch.rand(image.shape, generator=torch.Generator().manual_seed(top))
        other[near] = image[near]
        assert torch.equal(jpeg_round_trip(image, [40])[inner], jpeg_round_trip(other, [40])[inner])


def test_degradation_is_bicubic_then_jpeg_and_reaches_both_ends_of_its_range():
    hr = read_rgb(embedded_photos()[1].hr)[None, :, :128, :128].expand(200, -1, -1, -1)
    lr = BicubicJpeg(quality=(40, 42))(hr, torch.arange(200), 4)
    small = to_float(imresize(hr[:1], 1 / 4))
    expected = [to_uint8(jpeg_round_trip(small, [q]))[0] for q in (40, 41, 42)]
    found = [sum(torch.equal(image, one) for image in lr) for one in expected]
    assert sum(found) == 200
    assert min(found) > 45


@pytest.mark.parametrize("quality", [(0, 50), (50, 101), (60, 50), (30.5, 60)])
def test_a_wrong_quality_is_named(quality):
    with pytest.raises(InputError, match=r"degradation\.quality=.*whole numbers in \[1, 100\]"):
        BicubicJpeg(quality=quality)


@pytest.mark.gpu
def test_equal_bits_on_cuda(photo):
    batch = to_float(photo)[None].expand(4, -1, -1, -1)
    ours = jpeg_round_trip(batch, [5, 30, 75, 98])
    assert torch.equal(jpeg_round_trip(batch.cuda(), [5, 30, 75, 98]).cpu(), ours)
