"""Losses over ImageNet features by the name of their network, as ``loss/perceptual=…`` chooses them.

``weights`` is a local file; None takes torchvision's download for VGG, and the installed package's file for
EfficientNet-Lite0. The other settings are those of :class:`PerceptualLoss` and :class:`ContextualLoss`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from esrgan_lightning.losses.contextual import ContextualLoss
from esrgan_lightning.losses.perceptual import PerceptualLoss
from esrgan_lightning.networks.backbones import EfficientNetLite0Features, VGGFeatures


def vgg_perceptual(
    arch: Literal["vgg16", "vgg19"] = "vgg19",
    layers: Sequence[str] = ("conv5_4",),
    *,
    weights: str | Path | None = None,
    **settings: Any,
) -> PerceptualLoss:
    """VGG features such as conv5_4 (before ReLU; the paper's, ESRGAN §3.3) or relu5_4 (after it)."""
    return PerceptualLoss(VGGFeatures(arch, layers, weights=weights), **settings)


def efficientnet_perceptual(
    blocks: Sequence[int] = (0, 2, 4, 7),
    *,
    weights: str | Path | None = None,
    activated: bool = False,
    **settings: Any,
) -> PerceptualLoss:
    """MBConv blocks 0 to 15 of EfficientNet-Lite0: linear outputs, so "before activation" by construction.

    ``activated`` puts a ReLU behind each. ``relative`` is True by default, as the blocks' scales differ, and
    ``shift`` is 4.
    """
    backbone = EfficientNetLite0Features(blocks, weights=weights, activated=activated)
    return PerceptualLoss(backbone, **{"relative": True, "shift": 4} | settings)


def vgg_contextual(
    arch: Literal["vgg16", "vgg19"] = "vgg19",
    layers: Sequence[str] = ("conv3_4",),
    *,
    weights: str | Path | None = None,
    **settings: Any,
) -> ContextualLoss:
    """Contextual loss on VGG features; conv3_4 of VGG19 as for super-resolution (Mechrez et al. 2018)."""
    return ContextualLoss(VGGFeatures(arch, layers, weights=weights), **settings)


def efficientnet_contextual(
    blocks: Sequence[int] = (2,), *, weights: str | Path | None = None, **settings: Any
) -> ContextualLoss:
    """The same on EfficientNet-Lite0; block 2 has a position for each 4×4 pixels, as VGG19's conv3_4."""
    return ContextualLoss(EfficientNetLite0Features(blocks, weights=weights), **settings)
