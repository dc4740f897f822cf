"""Image quality: PSNR and SSIM as published, NIQE."""

from esrgan_lightning.metrics.fidelity import (
    CONVENTION,
    PSNRRGB,
    PSNRY,
    SSIMY,
    psnr_rgb,
    psnr_y,
    ssim_rgb,
    ssim_y,
)
from esrgan_lightning.metrics.niqe import NIQE, fit_niqe, niqe
from esrgan_lightning.metrics.niqe_model import NaturalModel

__all__ = [
    "CONVENTION",
    "NIQE",
    "PSNRRGB",
    "PSNRY",
    "SSIMY",
    "NaturalModel",
    "fit_niqe",
    "niqe",
    "psnr_rgb",
    "psnr_y",
    "ssim_rgb",
    "ssim_y",
]
