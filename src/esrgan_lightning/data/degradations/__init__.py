"""From HR to LR: bicubic, with noise, through JPEG, or as photos from the wild."""

from esrgan_lightning.data.degradations._common import Degradation
from esrgan_lightning.data.degradations.bicubic import (
    Bicubic,
    BicubicJpeg,
    BicubicNoise,
    gaussian_noise,
    jpeg_round_trip,
    poisson_noise,
)
from esrgan_lightning.data.degradations.realesrgan import Order, RealESRGAN, blur_kernel, sinc_kernel

__all__ = [
    "Bicubic",
    "BicubicJpeg",
    "BicubicNoise",
    "Degradation",
    "Order",
    "RealESRGAN",
    "blur_kernel",
    "gaussian_noise",
    "jpeg_round_trip",
    "poisson_noise",
    "sinc_kernel",
]
