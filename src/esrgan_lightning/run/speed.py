"""What makes the same update faster: memory layout, compiled networks, frozen weights in half precision."""

from typing import cast

import torch

from esrgan_lightning.losses.features import FeatureLoss
from esrgan_lightning.networks.blocks import DenseBlock
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.stages.base import GeneratorStage, Stage
from esrgan_lightning.stages.gan import GANStage
from esrgan_lightning.stages.material import MaterialStage

_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def speed_up(stage: Stage, settings: TrainerSettings) -> None:
    """Prepares a stage, in place, before its first update. None of it changes what is computed.

    The settings that count are ``channels_last``, ``compile`` (of what is trained and of losses' networks,
    each in place, so that the names of the weights stay), ``gpu_kernels``, and ``cast_features``: networks of
    losses over features keep their weights in the half precision that mixed precision computes in, instead
    of being cast at each of their passes.
    """
    if settings.resolved_channels_last():
        stage.to(memory_format=torch.channels_last)
    for module in stage.modules():
        if isinstance(module, DenseBlock):
            module.gpu_kernels = settings.gpu_kernels
    frozen = [module for module in stage.modules() if isinstance(module, FeatureLoss)]
    half = _HALF.get(settings.resolved_precision())
    if settings.cast_features and half is not None:
        for features in frozen:
            features.cast(half)
    if settings.compile:
        trained = stage.network if isinstance(stage, MaterialStage) else cast(GeneratorStage, stage).generator
        networks = [trained, *(features.backbone for features in frozen)]
        if isinstance(stage, GANStage):
            networks.append(stage.discriminator)
            # Its graph is walked twice (stages/gan.py): the first walk may not reuse what the second reads.
            torch._functorch.config.donated_buffer = False
        for network in networks:
            network.compile()
