"""PSNR, SSIM and RMSE as the literature of super-resolution prints them."""

import torch
from kornia.metrics import ssim
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import rgb_to_y, shave, to_uint8

#: What PSNR and SSIM mean here, to be printed under a table.
CONVENTION = (
    "PSNR/SSIM: 8-bit outputs, L = 255, border of scale pixels left out, mean over images; "
    "Y: BT.601 luma, 16..235, rounded; SSIM: Gaussian 11x11, sigma 1.5, valid positions."
)

_WINDOW = 11


def psnr_y(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """PSNR of the luma in dB: 10 log10(255² / mean((Y_sr − Y_hr)²)), one figure per image.

    Both images are rounded to 8 bits first, Y (BT.601, 16..235) to whole levels; a gray image is its own Y.

    Args:
        sr: (B, C, H, W), C = 3 or 1, uint8 or floating in [0,1] (clamped).
        hr: the truth, of the same shape; the dtype may differ.
        crop: pixels left out on each side; the literature takes the scale.

    Returns:
        (B,), float64, in dB; inf where the two are identical.

    Raises:
        InputError: the shapes differ (they are never cropped to fit), are not (B, 1 or 3, H, W), or are no
            larger than the border.
        ValueError: a value is NaN.

    Source:
        The tables of ESRGAN (arXiv 1809.00219) and of the papers it compares with.
    """
    return _psnr(*_luma(*checked(sr, hr, crop)))


def ssim_y(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """SSIM of the luma: the mean of the SSIM map over valid positions of an 11×11 Gaussian window, σ = 1.5.

    Preparation, arguments and errors as ``psnr_y``; K = (0.01, 0.03), L = 255.

    Returns:
        (B,), float64, at most 1.

    Raises:
        InputError: also where less than 11×11 pixels are left.

    Source:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP
        2004, section III-B.
    """
    return _ssim(*_luma(*checked(sr, hr, crop)))


def psnr_rgb(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """As ``psnr_y``, with the squared error averaged over all channels of the 8-bit images."""
    return _psnr(*checked(sr, hr, crop))


def ssim_rgb(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """As ``ssim_y``, of each channel of the 8-bit images, then the mean over channels."""
    return _ssim(*checked(sr, hr, crop))


def rmse_y(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """Root of the mean squared error of the luma, in levels of 0..255, one figure per image.

    Preparation, arguments and errors as ``psnr_y``. Of several images the *squares* are averaged.

    Returns:
        (B,), float64, 0 where the two are identical.

    Source:
        The abscissa of the perception-distortion plane in Blau et al., "The 2018 PIRM challenge on perceptual
        image super-resolution", section 2; its program measures Y without 4 pixels at each side.
    """
    return _squared_error(*_luma(*checked(sr, hr, crop))).sqrt()


def rmse_rgb(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """As ``rmse_y``, over all channels of the 8-bit images."""
    return _squared_error(*checked(sr, hr, crop)).sqrt()


def checked(sr: Tensor, hr: Tensor, crop: int) -> tuple[Tensor, Tensor]:
    """Both as uint8, without the border."""
    if sr.shape != hr.shape:
        raise InputError(f"the images to compare differ in shape: {tuple(sr.shape)} and {tuple(hr.shape)}")
    return _within(sr, crop), _within(hr, crop)


def luma_within(image: Tensor, crop: int) -> Tensor:
    """Y in whole levels of an 8-bit image, without its border: (B, 1 or 3, H, W) → (B,1,h,w).

    Raises:
        InputError: another shape, or no pixel is left.
    """
    return rgb_to_y(_within(image, crop), rounded=True)


def _within(image: Tensor, crop: int) -> Tensor:
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise InputError(f"images to measure are (B, 1 or 3, H, W), got {tuple(image.shape)}")
    return shave(to_uint8(image), crop)


def _luma(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Y of both, in whole levels."""
    return rgb_to_y(sr, rounded=True), rgb_to_y(hr, rounded=True)


def _psnr(sr: Tensor, hr: Tensor) -> Tensor:
    return 10 * torch.log10(255**2 / _squared_error(sr, hr))


def _squared_error(sr: Tensor, hr: Tensor) -> Tensor:
    """The mean squared error of each image, (B,)."""
    return (sr.to(torch.float64) - hr.to(torch.float64)).square().mean((1, 2, 3))


def _ssim(sr: Tensor, hr: Tensor) -> Tensor:
    if min(sr.shape[-2:]) < _WINDOW:
        raise InputError(
            f"SSIM needs {_WINDOW}×{_WINDOW} pixels within the border, got {tuple(sr.shape[-2:])}"
        )
    index: Tensor = ssim(sr.to(torch.float64), hr.to(torch.float64), _WINDOW, 255.0, padding="valid")
    # Row by row: the order of a sum over everything would depend on the number of threads.
    return index.mean(-1).mean((1, 2))
