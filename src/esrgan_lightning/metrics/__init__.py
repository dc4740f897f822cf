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
from esrgan_lightning.metrics.niqe import NIQE, niqe

__all__ = [
    "CONVENTION",
    "NIQE",
    "PSNRRGB",
    "PSNRY",
    "SSIMY",
    "niqe",
    "psnr_rgb",
    "psnr_y",
    "ssim_rgb",
    "ssim_y",
]
