"""Tiny generators of every kind that is exported, with weights large enough for differences to show."""

import torch
from torch import nn

from esrgan_lightning.networks import RRDBNet, SRResNet

_SIZES = {"num_blocks": 1, "growth_channels": 4, "init_scale": 1}

_KINDS = {
    "x4": lambda: RRDBNet(num_features=8, **_SIZES),
    "x3": lambda: RRDBNet(num_features=6, scale=3, **_SIZES),
    "x8": lambda: RRDBNet(num_features=5, scale=8, **_SIZES),
    "x2 folded": lambda: RRDBNet(num_features=8, scale=2, **_SIZES),
    "x2 plain": lambda: RRDBNet(num_features=8, scale=2, unshuffle=False, **_SIZES),
    "x1 folded, gray": lambda: RRDBNet(1, 1, num_features=8, scale=1, **_SIZES),
    "SRResNet": lambda: SRResNet(num_features=8, num_blocks=1, batch_norm=True, init_scale=1),
}
NAMES = tuple(_KINDS)


def net(name: str) -> nn.Module:
    torch.manual_seed(0)
    generator = _KINDS[name]().eval()
    for part in generator.modules():  # batch norms that change something
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return generator


def pictures(generator: nn.Module, batch: int, height: int, width: int):
    """An input, and what the generator makes of it."""
    x = torch.rand(batch, generator.in_channels, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, generator(x)
