"""What makes the same update faster: memory layout, compiled networks, frozen weights in half precision."""

from typing import cast

import torch

from esrgan_lightning.losses.features import FrozenFeatures
from esrgan_lightning.networks.blocks import DenseBlock
from esrgan_lightning.run.precision import Precision
from esrgan_lightning.stages.base import GeneratorStage, Stage
from esrgan_lightning.stages.gan import GANStage
from esrgan_lightning.stages.material import MaterialStage

_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def channels_last_pays(device: str) -> bool:
    """Whether an update is faster in NHWC: but for processors with AVX2 alone.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2"


def speed_up(
    stage: Stage,
    *,
    channels_last: bool,
    compiled: bool,
    cast_features: bool,
    gpu_kernels: bool,
    precision: Precision,
) -> None:
    """Prepares a stage, in place, before its first update. None of it changes what is computed.

    Args:
        stage: what is to be trained.
        channels_last: networks and their feature maps as NHWC in memory.
        compiled: ``torch.compile`` for what is trained and for the networks of losses over features, each
            in place, so that the names of the weights stay.
        cast_features: networks of losses over features keep their weights in the half precision that mixed
            precision computes in, instead of being cast at each of their passes.
        gpu_kernels: dense blocks compute with kernels of their own, on a Hopper GPU in half precision.
        precision: as :func:`~esrgan_lightning.run.precision.resolve_precision` has found it.
    """
    if channels_last:
        stage.to(memory_format=torch.channels_last)
    for module in stage.modules():
        if isinstance(module, DenseBlock):
            module.gpu_kernels = gpu_kernels
    frozen = [module for module in stage.modules() if isinstance(module, FrozenFeatures)]
    if cast_features and precision in _HALF:
        for features in frozen:
            features.cast(_HALF[precision])
    if compiled:
        trained = stage.network if isinstance(stage, MaterialStage) else cast(GeneratorStage, stage).generator
        networks = [trained, *(features.backbone for features in frozen)]
        if isinstance(stage, GANStage):
            networks.append(stage.discriminator)
            # Its graph is walked twice (stages/gan.py): the first walk may not reuse what the second reads.
            torch._functorch.config.donated_buffer = False
        for network in networks:
            network.compile()
