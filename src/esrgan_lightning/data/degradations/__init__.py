"""From HR to LR: bicubic, with noise, through JPEG, or as photos from the wild."""

from esrgan_lightning.data.degradations._common import Degradation
from esrgan_lightning.data.degradations.bicubic import Bicubic
from esrgan_lightning.data.degradations.jpeg import BicubicJpeg, jpeg_round_trip
from esrgan_lightning.data.degradations.kernels import blur_kernel, sinc_kernel
from esrgan_lightning.data.degradations.noise import BicubicNoise, gaussian_noise, poisson_noise
from esrgan_lightning.data.degradations.order import Order
from esrgan_lightning.data.degradations.realesrgan import RealESRGAN
from esrgan_lightning.data.degradations.sharpen import usm_sharpen

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
    "usm_sharpen",
]
