"""Depth and framing; luma against published corner values and scikit-image."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import (
    from_float,
    modcrop,
    rgb_to_gray,
    rgb_to_y,
    shave,
    to_float,
    to_uint8,
    to_uint16,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_all_uint8_levels_survive_the_round_trip(dtype):
    """A half has 11 bits, enough for 8 if the rounding happens in more; bfloat16 has too few."""
    levels = torch.arange(256, dtype=torch.uint8)
    back = to_uint8(to_float(levels, dtype))
    if dtype is torch.bfloat16:
        assert (back.int() - levels.int()).abs().max() <= 1
    else:
        assert torch.equal(back, levels)


def test_all_uint16_levels_survive_the_round_trip():
    levels = torch.arange(65536, dtype=torch.int32).to(torch.uint16)
    assert torch.equal(to_uint16(to_float(levels)), levels)
    assert to_float(levels, torch.float16).isfinite().all()


def test_depths_convert_by_rounding_not_by_shifting():
    """A shift, x >> 8, would turn 255·257 − 1 into 254, and 16-bit white into 255 only by luck."""
    deep = torch.tensor([0, 128, 129, 65535 - 129, 65535 - 128, 65535]).to(torch.uint16)
    assert to_uint8(deep).tolist() == [0, 0, 1, 254, 255, 255]
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_uint16(levels)), levels)


def test_half_rounds_up_and_the_range_is_clamped():
    values = torch.tensor([-1.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 2.0, float("inf")], dtype=torch.float64)
    assert to_uint8(values).tolist() == [0, 1, 2, 3, 255, 255]
    assert to_uint16(torch.tensor([-1.0, 2.0])).tolist() == [0, 65535]


@pytest.mark.parametrize("convert", [to_uint8, to_uint16])
def test_nan_is_refused_not_painted_black(convert):
    with pytest.raises(ValueError, match="NaN"):
        convert(torch.tensor([0.5, float("nan")]))


@pytest.mark.parametrize("convert", [to_uint8, to_uint16, to_float])
def test_other_integers_are_refused(convert):
    with pytest.raises(TypeError, match="int64"):
        convert(torch.tensor([1]))


def test_from_float_inverts_to_float_for_each_depth():
    image = torch.rand(3, 4, 4)
    assert torch.equal(from_float(image, torch.uint8), to_uint8(image))
    assert torch.equal(from_float(image, torch.uint16), to_uint16(image))
    assert from_float(image, torch.float64).dtype is torch.float64
    with pytest.raises(TypeError, match="int32"):
        from_float(image, torch.int32)


def test_modcrop_keeps_the_top_left():
    image = torch.arange(7 * 9).reshape(1, 7, 9)
    assert torch.equal(modcrop(image, 4), image[:, :4, :8])
    assert torch.equal(modcrop(image, 1), image)
    with pytest.raises(InputError, match="7×9"):
        modcrop(image, 8)


def test_shave_cuts_each_side_and_zero_cuts_nothing():
    """`x[b:-b]` with b = 0 would leave an empty image."""
    image = torch.arange(5 * 7).reshape(1, 5, 7)
    assert torch.equal(shave(image, 2), image[:, 2:3, 2:5])
    assert torch.equal(shave(image, 0), image)
    for border in (-1, 3):
        with pytest.raises(InputError, match="border"):
            shave(image, border)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_a_gpu_gives_the_same_bits(dtype):
    """Breaks if a plain number divides: CUDA multiplies by its reciprocal, a bit off half of the time."""
    levels = torch.arange(torch.iinfo(dtype).max + 1, dtype=torch.int32).to(dtype)
    assert torch.equal(to_float(levels.cuda()).cpu(), to_float(levels))


@pytest.mark.parametrize(
    ("rgb", "y"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81), ((0, 255, 0), 145), ((0, 0, 255), 41)],
)
def test_the_corners_of_bt601(rgb, y):
    """The values that every table of BT.601 colour bars prints; full range or BT.709 would miss them."""
    image = torch.tensor(rgb, dtype=torch.uint8).reshape(3, 1, 1)
    assert rgb_to_y(image, rounded=True).item() == y


def test_gray_is_pillows():
    """A million colours, and all levels of gray, which stay."""
    rgb = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    rgb[0, :256] = np.arange(256)[:, None]
    gray = rgb_to_gray(torch.from_numpy(rgb).permute(2, 0, 1))
    assert gray.dtype is torch.uint8
    assert np.array_equal(gray[0].numpy(), np.array(Image.fromarray(rgb).convert("L")))
    assert gray[0, 0, :256].tolist() == list(range(256))


def test_equals_scikit_image_on_noise():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    ours = rgb_to_y(torch.from_numpy(image.transpose(2, 0, 1).copy()), rounded=False)[0]
    np.testing.assert_allclose(ours.numpy(), rgb2ycbcr(image)[..., 0], atol=1e-9)


def test_depths_agree_and_dtypes_are_kept():
    image = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    y = rgb_to_y(image, rounded=True)
    assert y.dtype is torch.float64
    assert y.shape == (2, 1, 8, 8)
    unit = image / 255
    assert rgb_to_y(unit, rounded=True).dtype is torch.float32
    torch.testing.assert_close(
        rgb_to_y(unit, rounded=False).double(), rgb_to_y(image, rounded=False), atol=1e-4, rtol=0
    )
    deep = (image.int() * 257).to(torch.uint16)
    torch.testing.assert_close(rgb_to_y(deep, rounded=False), rgb_to_y(image, rounded=False))


def test_ties_round_up():
    """The numerator is 127500 more than a multiple of 255000: exactly half a level."""
    found = [
        (r, g, b)
        for r in range(0, 256, 5)
        for g in range(0, 256, 5)
        for b in range(256)
        if (65481 * r + 128553 * g + 24966 * b) % 255000 == 127500
    ]
    assert found
    image = torch.tensor(found, dtype=torch.uint8).T[:, None]
    expected = [(65481 * r + 128553 * g + 24966 * b + 127500) // 255000 + 16 for r, g, b in found]
    assert rgb_to_y(image, rounded=True).flatten().tolist() == expected


def test_gray_is_its_own_luma():
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert torch.equal(rgb_to_y(image, rounded=True), image.double())
    torch.testing.assert_close(rgb_to_y(image / 255, rounded=False), image.float())


def test_is_differentiable_unrounded():
    image = torch.rand(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rgb_to_y(x, rounded=False), image)


@pytest.mark.parametrize("shape", [(4, 8, 8), (2, 8, 8), (8, 8)])
def test_other_channels_are_refused(shape):
    with pytest.raises(InputError, match="luma"):
        rgb_to_y(torch.zeros(shape), rounded=True)
