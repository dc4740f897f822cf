"""Losses: equations over tensors, with no trainable network, optimiser or step inside."""

from esrgan_lightning.losses.adversarial import (
    AdversarialLoss,
    HingeGAN,
    LeastSquaresGAN,
    RelativisticAverageGAN,
    StandardGAN,
    WassersteinGAN,
)
from esrgan_lightning.losses.contextual import ContextualLoss
from esrgan_lightning.losses.penalty import GradientPenalty, R1Penalty
from esrgan_lightning.losses.perceptual import PerceptualLoss
from esrgan_lightning.losses.pixel import CharbonnierLoss, ConsistencyLoss
from esrgan_lightning.losses.similarity import SimilarityLoss
from esrgan_lightning.losses.weighted import WeightedLoss

__all__ = [
    "AdversarialLoss",
    "CharbonnierLoss",
    "ConsistencyLoss",
    "ContextualLoss",
    "GradientPenalty",
    "HingeGAN",
    "LeastSquaresGAN",
    "PerceptualLoss",
    "R1Penalty",
    "RelativisticAverageGAN",
    "SimilarityLoss",
    "StandardGAN",
    "WassersteinGAN",
    "WeightedLoss",
]
