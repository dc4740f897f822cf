"""Losses over ImageNet features by the name of their network, as ``loss/perceptual=…`` chooses them.

``layer_weights`` has one for each layer or block, 1 by default. ``weights`` is a local file; None takes
torchvision's download for VGG, and the installed package's file for EfficientNet-Lite0. The other settings
are those of :class:`PerceptualLoss` and :class:`ContextualLoss`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses.contextual import ContextualLoss
from esrgan_lightning.losses.perceptual import PerceptualLoss
from esrgan_lightning.networks.backbones import EfficientNetLite0Features, VGGFeatures


def vgg_perceptual(
    arch: Literal["vgg16", "vgg19"] = "vgg19",
    layers: Sequence[str] = ("conv5_4",),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    **settings: Any,
) -> PerceptualLoss:
    """VGG features such as conv5_4 (before ReLU; the paper's, ESRGAN §3.3) or relu5_4 (after it)."""
    backbone = VGGFeatures(arch, layers, weights=weights)
    return PerceptualLoss(backbone, _by_layer(layers, layer_weights), **settings)


def efficientnet_perceptual(
    blocks: Sequence[int] = (0, 2, 4, 7),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    activated: bool = False,
    **settings: Any,
) -> PerceptualLoss:
    """MBConv blocks 0 to 15 of EfficientNet-Lite0: linear outputs, so "before activation" by construction.

    ``activated`` puts a ReLU behind each. ``relative`` is True by default, as the blocks' scales differ, and
    ``shift`` is 4.
    """
    backbone = EfficientNetLite0Features(blocks, weights=weights, activated=activated)
    settings = {"relative": True, "shift": 4} | settings
    return PerceptualLoss(backbone, _by_block(blocks, layer_weights), **settings)


def vgg_contextual(
    arch: Literal["vgg16", "vgg19"] = "vgg19",
    layers: Sequence[str] = ("conv3_4",),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    **settings: Any,
) -> ContextualLoss:
    """Contextual loss on VGG features; conv3_4 of VGG19 as for super-resolution (Mechrez et al. 2018)."""
    backbone = VGGFeatures(arch, layers, weights=weights)
    return ContextualLoss(backbone, _by_layer(layers, layer_weights), **settings)


def efficientnet_contextual(
    blocks: Sequence[int] = (2,),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    **settings: Any,
) -> ContextualLoss:
    """The same on EfficientNet-Lite0; block 2 has a position for each 4×4 pixels, as VGG19's conv3_4."""
    backbone = EfficientNetLite0Features(blocks, weights=weights)
    return ContextualLoss(backbone, _by_block(blocks, layer_weights), **settings)


def _by_block(blocks: Sequence[int], weights: Sequence[float] | None) -> dict[str, float] | None:
    # Named by the caller's order: the backbone lists its layers in the network's.
    return _by_layer([f"block{index}" for index in blocks], weights)


def _by_layer(layers: Sequence[str], weights: Sequence[float] | None) -> dict[str, float] | None:
    if weights is None:
        return None
    if len(weights) != len(layers):
        raise InputError(f"layer_weights={list(weights)}: {len(layers)} layers need {len(layers)} weights")
    return dict(zip(layers, weights, strict=True))
