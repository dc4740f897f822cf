"""Image quality: PSNR, SSIM and RMSE as published, NIQE."""

from esrgan_lightning.metrics.fidelity import (
    CONVENTION,
    PSNRRGB,
    PSNRY,
    RMSERGB,
    RMSEY,
    SSIMRGB,
    SSIMY,
    psnr_rgb,
    psnr_y,
    rmse_rgb,
    rmse_y,
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
    "RMSERGB",
    "RMSEY",
    "SSIMRGB",
    "SSIMY",
    "NaturalModel",
    "fit_niqe",
    "niqe",
    "psnr_rgb",
    "psnr_y",
    "rmse_rgb",
    "rmse_y",
    "ssim_rgb",
    "ssim_y",
]
