"""Trained generators as functions from image to image."""

from esrgan_lightning.inference.pair import NetworkPair
from esrgan_lightning.inference.runner import Runner
from esrgan_lightning.inference.upscaler import Upscaler

__all__ = ["NetworkPair", "Runner", "Upscaler"]
