"""Networks: generators and discriminators.

The frozen feature extractors of the perceptual loss are imported from ``networks.backbones``: they bring
torchvision along, whose import takes longer than building a generator.
"""

from esrgan_lightning.networks.discriminators import PatchDiscriminator, UNetDiscriminator, VGGDiscriminator
from esrgan_lightning.networks.rrdb import RRDBNet
from esrgan_lightning.networks.sft import OUTDOOR_CLASSES, SFTNet, conditions_of
from esrgan_lightning.networks.spec import GENERATORS, build_network, network_spec
from esrgan_lightning.networks.srcnn import SRCNN
from esrgan_lightning.networks.srresnet import SRResNet

__all__ = [
    "GENERATORS",
    "OUTDOOR_CLASSES",
    "SRCNN",
    "PatchDiscriminator",
    "RRDBNet",
    "SFTNet",
    "SRResNet",
    "UNetDiscriminator",
    "VGGDiscriminator",
    "build_network",
    "conditions_of",
    "network_spec",
]
