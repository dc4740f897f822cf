"""Networks: generators, discriminators and the frozen feature extractors of the perceptual loss."""

from esrgan_lightning.networks.discriminators import PatchDiscriminator, VGGDiscriminator
from esrgan_lightning.networks.rrdb import RRDBNet
from esrgan_lightning.networks.spec import GENERATORS, build_network, network_spec
from esrgan_lightning.networks.srresnet import SRResNet
from esrgan_lightning.networks.unet import UNetDiscriminator

# The line for networks/backbones.py goes here, its names into __all__ below.

__all__ = [
    "GENERATORS",
    "PatchDiscriminator",
    "RRDBNet",
    "SRResNet",
    "UNetDiscriminator",
    "VGGDiscriminator",
    "build_network",
    "network_spec",
]
