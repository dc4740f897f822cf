"""Luma against published corner values and scikit-image."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import rgb_to_gray, rgb_to_y


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
