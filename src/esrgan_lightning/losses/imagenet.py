"""Losses over ImageNet features by the name of their network, as ``loss/perceptual=…`` chooses them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
    criterion: Literal["l1", "mse"] = "l1",
    relative: bool = False,
    shift: int = 1,
) -> PerceptualLoss:
    """VGG features; the paper's are VGG19's conv5_4, before activation (ESRGAN §3.3).

    Args:
        arch: vgg19 or vgg16.
        layers: such as conv5_4 (before ReLU) or relu5_4 (after it).
        layer_weights: one for each layer; 1 each by default.
        weights: None for torchvision's download, or a local file.
        criterion: l1 or mse.
        relative: divide each layer's distance by the size of the HR features.
        shift: as in :class:`PerceptualLoss`.
    """
    backbone = VGGFeatures(arch, layers, weights=weights)
    by_layer = _by_layer(layers, layer_weights)
    return PerceptualLoss(backbone, by_layer, criterion=criterion, relative=relative, shift=shift)


def efficientnet_perceptual(
    blocks: Sequence[int] = (0, 2, 4, 7),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    criterion: Literal["l1", "mse"] = "l1",
    relative: bool = True,
    activated: bool = False,
    shift: int = 4,
) -> PerceptualLoss:
    """EfficientNet-Lite0 features, with real ImageNet weights from an installed package: no download.

    Args:
        blocks: MBConv blocks, 0 to 15; their outputs are linear, so "before activation" by construction.
        layer_weights: one for each block; 1 each by default.
        weights: None for the package's file, or a local file.
        criterion: l1 or mse.
        relative: divide each block's distance by the size of the HR features, as the blocks' scales differ.
        activated: a ReLU behind each block, to compare "after activation" with "before".
        shift: as in :class:`PerceptualLoss`.
    """
    backbone = EfficientNetLite0Features(blocks, weights=weights, activated=activated)
    by_block = _by_block(blocks, layer_weights)
    return PerceptualLoss(backbone, by_block, criterion=criterion, relative=relative, shift=shift)


def vgg_contextual(
    arch: Literal["vgg16", "vgg19"] = "vgg19",
    layers: Sequence[str] = ("conv3_4",),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    bandwidth: float = 0.5,
    block: int = 1024,
) -> ContextualLoss:
    """Contextual loss on VGG features; conv3_4 of VGG19 as for super-resolution (Mechrez et al. 2018).

    Args:
        arch: vgg19 or vgg16.
        layers: such as conv3_4 (before ReLU) or relu3_4 (after it).
        layer_weights: one for each layer; 1 each by default.
        weights: None for torchvision's download, or a local file.
        bandwidth: h.
        block: positions compared at a time: a limit on memory alone.
    """
    backbone = VGGFeatures(arch, layers, weights=weights)
    return ContextualLoss(backbone, _by_layer(layers, layer_weights), bandwidth=bandwidth, block=block)


def efficientnet_contextual(
    blocks: Sequence[int] = (2,),
    *,
    layer_weights: Sequence[float] | None = None,
    weights: str | Path | None = None,
    bandwidth: float = 0.5,
    block: int = 1024,
) -> ContextualLoss:
    """Contextual loss on EfficientNet-Lite0's features, which need no download.

    Args:
        blocks: MBConv blocks, 0 to 15; block 2 has a position for each 4×4 pixels, as VGG19's conv3_4.
        layer_weights: one for each block; 1 each by default.
        weights: None for the package's file, or a local file.
        bandwidth: h.
        block: positions compared at a time: a limit on memory alone.
    """
    backbone = EfficientNetLite0Features(blocks, weights=weights)
    return ContextualLoss(backbone, _by_block(blocks, layer_weights), bandwidth=bandwidth, block=block)


def _by_block(blocks: Sequence[int], weights: Sequence[float] | None) -> dict[str, float] | None:
    # Named by the caller's order: the backbone lists its layers in the network's.
    return _by_layer([f"block{index}" for index in blocks], weights)


def _by_layer(layers: Sequence[str], weights: Sequence[float] | None) -> dict[str, float] | None:
    if weights is None:
        return None
    if len(weights) != len(layers):
        raise InputError(f"layer_weights={list(weights)}: {len(layers)} layers need {len(layers)} weights")
    return dict(zip(layers, weights, strict=True))
