"""Image quality: PSNR, SSIM and RMSE as published, NIQE, and all that there are by name."""

from esrgan_lightning.metrics.fidelity import (
    CONVENTION,
    psnr_rgb,
    psnr_y,
    rmse_rgb,
    rmse_y,
    ssim_rgb,
    ssim_y,
)
from esrgan_lightning.metrics.measures import METRICS, Measure, ValidationMetric
from esrgan_lightning.metrics.niqe import NaturalModel, fit_niqe, niqe

__all__ = [
    "CONVENTION",
    "METRICS",
    "Measure",
    "NaturalModel",
    "ValidationMetric",
    "fit_niqe",
    "niqe",
    "psnr_rgb",
    "psnr_y",
    "rmse_rgb",
    "rmse_y",
    "ssim_rgb",
    "ssim_y",
]
