"""Real-ESRGAN's sharper target."""

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from esrgan_lightning.data.degradations._common import to_levels, workplace
from esrgan_lightning.ops.pixels import to_float

_SIDE, _SIGMA = 51, 8.0  # OpenCV's σ for a window of 51: 0.3 (25 − 1) + 0.8
_WEIGHT, _THRESHOLD = 0.5, 10 / 255


def usm_sharpen(hr: Tensor) -> Tensor:
    """Unsharp masking: x + m (clamp(x + (x − G x)/2) − x), m = G [|x − G x| > 10/255].

    Real-ESRGAN's pixel and perceptual losses compare with this picture instead of the HR.

    Args:
        hr: uint8 (B,3,H,W), sides above 25.

    Returns:
        uint8 of the same shape.

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 4.1 (sharpened ground-truth images); figures of the
        authors' release.
    """
    with torch.no_grad(), torch.autocast(hr.device.type, enabled=False):
        x = to_float(workplace(hr))
        detail = x - _smooth(x)
        mask = _smooth((detail.abs() > _THRESHOLD).to(x.dtype))
        sharp = (x + _WEIGHT * detail).clamp(0, 1)
        return to_levels(x + mask * (sharp - x)).to(torch.uint8).to(hr.device)


def _smooth(x: Tensor) -> Tensor:
    return gaussian_blur2d(x, (_SIDE, _SIDE), (_SIGMA, _SIGMA))
