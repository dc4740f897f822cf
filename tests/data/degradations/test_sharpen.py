"""Unsharp masking against OpenCV's filters."""

import cv2
import numpy as np
import torch

from esrgan_lightning.data.degradations import usm_sharpen
from esrgan_lightning.data.sources import embedded_photos
from esrgan_lightning.ops import read_rgb


def test_equals_the_equation_with_opencvs_gaussian():
    """Breaks if the threshold, the weight or the window is off."""
    photo = read_rgb(embedded_photos()[0].hr)[:, 100:260, 100:300]
    x = photo.permute(1, 2, 0).numpy().astype(np.float64) / 255
    detail = x - cv2.GaussianBlur(x, (51, 51), 0)
    mask = cv2.GaussianBlur((np.abs(detail) * 255 > 10).astype(np.float64), (51, 51), 0)
    expected = mask * np.clip(x + 0.5 * detail, 0, 1) + (1 - mask) * x
    ours = usm_sharpen(photo[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - expected * 255).max() < 0.51
    assert ours.dtype == np.uint8


def test_flat_pictures_stay():
    flat = torch.full((2, 3, 40, 60), 77, dtype=torch.uint8)
    assert torch.equal(usm_sharpen(flat), flat)
