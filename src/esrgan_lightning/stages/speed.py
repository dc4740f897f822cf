"""What makes the same update faster: memory layout, compiled networks, frozen weights in half precision."""

import torch

from esrgan_lightning.losses import PerceptualLoss
from esrgan_lightning.stages.gan import GANStage
from esrgan_lightning.stages.precision import Precision
from esrgan_lightning.stages.psnr import PSNRStage

_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def speed_up(
    stage: PSNRStage | GANStage,
    *,
    channels_last: bool,
    compiled: bool,
    cast_features: bool,
    precision: Precision,
) -> None:
    """Prepares a stage, in place, before its first update. None of it changes what is computed.

    Args:
        stage: a :class:`~esrgan_lightning.stages.PSNRStage` or :class:`~esrgan_lightning.stages.GANStage`.
        channels_last: networks and their feature maps as NHWC in memory.
        compiled: ``torch.compile`` for the generator, the discriminator and the perceptual loss's network,
            each in place, so that the names of the weights stay.
        cast_features: the perceptual loss's network keeps its weights in the half precision that mixed
            precision computes in, instead of being cast at each of its passes.
        precision: as :func:`~esrgan_lightning.stages.precision.resolve_precision` has found it.
    """
    if channels_last:
        stage.to(memory_format=torch.channels_last)
    terms = stage.losses.terms.values()
    perceptual = [term for term in terms if isinstance(term, PerceptualLoss)]
    if cast_features and precision in _HALF:
        for term in perceptual:
            term.cast_features(_HALF[precision])
    if compiled:
        networks = [stage.generator, *(term.backbone for term in perceptual)]
        if isinstance(stage, GANStage):
            networks.append(stage.discriminator)
            # Its graph is walked twice (stages/relay.py): the first walk may not reuse what the second reads.
            torch._functorch.config.donated_buffer = False
        for network in networks:
            network.compile()
