"""Losses: equations over tensors, with no trainable network, optimiser or step inside."""

from esrgan_lightning.losses.adversarial import (
    AdversarialLoss,
    HingeGAN,
    LeastSquaresGAN,
    RelativisticAverageGAN,
    StandardGAN,
    WassersteinGAN,
)
from esrgan_lightning.losses.perceptual import PerceptualLoss
from esrgan_lightning.losses.pixel import CharbonnierLoss
from esrgan_lightning.losses.weighted import WeightedLoss

__all__ = [
    "AdversarialLoss",
    "CharbonnierLoss",
    "HingeGAN",
    "LeastSquaresGAN",
    "PerceptualLoss",
    "RelativisticAverageGAN",
    "StandardGAN",
    "WassersteinGAN",
    "WeightedLoss",
]
