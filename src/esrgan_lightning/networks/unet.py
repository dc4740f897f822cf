"""Real-ESRGAN's discriminator."""

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.blocks import conv3x3, require_count

_SMALLEST = 8  # three halvings


def _spectral(in_channels: int, out_channels: int, *, halves: bool = False) -> nn.Module:
    """Convolution under spectral norm, without bias: 4×4 that halves the size, or 3×3 that keeps it."""
    kernel, stride = (4, 2) if halves else (3, 1)
    return spectral_norm(nn.Conv2d(in_channels, out_channels, kernel, stride, padding=1, bias=False))


@final
class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's U-Net with spectral norm: one logit per pixel (Wang et al. 2021, §3.4).

    Three halvings to 8·nf channels and three bilinear doublings back, each added to the map of its size on
    the way down; LeakyReLU 0.2; spectral norm on all but the first and the last convolution.

    4,376,897 parameters with the defaults.

    Args:
        in_channels: Channels of the image.
        num_features: Channels of the first layer, nf.
        skip_connections: Add the maps of the way down.

    Shape:
        (B,in_channels,H,W) in [0,1], H and W at least 8 → raw logits (B,1,H,W).

    Raises:
        InputError: A setting out of range, or an image smaller than 8 pixels.
    """

    def __init__(self, in_channels: int = 3, num_features: int = 64, skip_connections: bool = True) -> None:
        super().__init__()
        require_count("UNetDiscriminator", in_channels=in_channels, num_features=num_features)
        nf = num_features
        self.in_channels, self.skip_connections = in_channels, skip_connections
        self.first = conv3x3(in_channels, nf)
        self.down = nn.ModuleList(_spectral(nf * k, nf * 2 * k, halves=True) for k in (1, 2, 4))
        self.up = nn.ModuleList(_spectral(nf * 2 * k, nf * k) for k in (4, 2, 1))
        self.head = nn.Sequential(
            _spectral(nf, nf),
            nn.LeakyReLU(0.2, inplace=True),
            _spectral(nf, nf),
            nn.LeakyReLU(0.2, inplace=True),
            conv3x3(nf, 1),
        )
        self.act = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,H,W) → raw logits (B,1,H,W)."""
        height, width = x.shape[-2:]
        if min(height, width) < _SMALLEST:
            raise InputError(f"UNetDiscriminator needs at least 8×8 pixels and was given {height}×{width}")
        x = self.act(self.first(x))
        skips = []
        for down in self.down:
            skips.append(x)
            x = self.act(down(x))
        for up, skip in zip(self.up, reversed(skips), strict=True):
            # To the skip's size, which is twice this one's only where the size is even.
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = self.act(up(x))
            if self.skip_connections:
                x = x + skip
        logits: Tensor = self.head(x)
        return logits
