"""Discriminators: one verdict per image, per overlapping patch or per pixel."""

from itertools import pairwise
from typing import Literal, final

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.blocks import checked_spec, conv3x3

Norm = Literal["batch", "none"]


def _layer(in_channels: int, out_channels: int, kernel: int, stride: int, norm: Norm) -> list[nn.Module]:
    """Convolution, normalisation, LeakyReLU 0.2; a bias before batch norm would have no effect."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=1, bias=norm == "none")
    norms: list[nn.Module] = [nn.BatchNorm2d(out_channels)] if norm == "batch" else []
    return [conv, *norms, nn.LeakyReLU(0.2, inplace=True)]


@final
class VGGDiscriminator(nn.Module):
    """The paper's discriminator: VGG-style, one logit per patch (SRGAN §2.1.1, used by ESRGAN §3.2).

    Ten convolutions, 3×3 with stride 1 and 4×4 with stride 2 by turns, nf·(1, 2, 4, 8, 8) channels,
    LeakyReLU 0.2, batch norm after all but the first; then fc 100 → LeakyReLU → fc 1, as the authors have it:
    14,499,401 parameters. The fully connected layer fixes the patch's size.

    Args:
        in_channels: Channels of the HR patch.
        num_features: Channels of the first layer, nf.
        patch_size: Side of the HR patch in pixels, a multiple of 32.
        norm: ``batch``, or ``none`` (then every convolution has a bias).

    Shape:
        (B,in_channels,patch_size,patch_size) in [0,1] → raw logits (B,1).

    Raises:
        InputError: A setting out of range, or an image of another size.
    """

    def __init__(
        self, in_channels: int = 3, num_features: int = 64, patch_size: int = 128, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        checked_spec(VGGDiscriminator, locals())
        if patch_size % 32:
            raise InputError(f"VGGDiscriminator: patch_size={patch_size} must be a multiple of 32")
        self.in_channels, self.patch_size = in_channels, patch_size
        widths = [num_features * factor for factor in (1, 2, 4, 8, 8)]
        layers = _layer(in_channels, widths[0], 3, 1, "none") + _layer(widths[0], widths[0], 4, 2, norm)
        for before, after in pairwise(widths):
            layers += _layer(before, after, 3, 1, norm) + _layer(after, after, 4, 2, norm)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * (patch_size // 32) ** 2, 100),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(100, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,patch_size,patch_size) → raw logits (B,1)."""
        height, width = x.shape[-2:]
        if height != self.patch_size or width != self.patch_size:
            raise InputError(
                f"VGGDiscriminator is built for patches of {self.patch_size}×{self.patch_size} pixels and "
                f"was given {height}×{width}: set its patch_size to the size of the HR patches"
            )
        logits: Tensor = self.classifier(self.features(x))
        return logits


@final
class PatchDiscriminator(nn.Module):
    """pix2pix's PatchGAN: one logit per overlapping patch (Isola et al. 2017, §3.2.2 and appendix 6.1.2).

    4×4 convolutions: ``num_layers`` of stride 2 with nf·(1, 2, 4, 8, 8 …) channels, one of stride 1, then one
    channel of logits. With three layers of stride 2 a logit sees 70×70 pixels. LeakyReLU 0.2, batch norm
    after all but the first and the last convolution. 2,765,633 parameters with the defaults.

    Args:
        in_channels: Channels of the image.
        num_features: Channels of the first layer, nf.
        num_layers: Convolutions of stride 2, at least 1.
        norm: ``batch``, or ``none`` (then every convolution has a bias).

    Shape:
        (B,in_channels,H,W) in [0,1] → raw logits (B,1,H',W'), H' = ⌊H/2ⁿ⌋ − 2 for n layers.

    Raises:
        InputError: A setting out of range, or an image too small for a single patch.
    """

    def __init__(
        self, in_channels: int = 3, num_features: int = 64, num_layers: int = 3, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        checked_spec(PatchDiscriminator, locals())
        self.in_channels, self.smallest = in_channels, 3 * 2**num_layers
        widths = [num_features * min(2**layer, 8) for layer in range(num_layers + 1)]
        layers = _layer(in_channels, widths[0], 4, 2, "none")
        for layer in range(1, num_layers + 1):
            layers += _layer(widths[layer - 1], widths[layer], 4, 2 if layer < num_layers else 1, norm)
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,H,W) → raw logits (B,1,H',W')."""
        height, width = x.shape[-2:]
        if min(height, width) < self.smallest:
            raise InputError(
                f"PatchDiscriminator needs at least {self.smallest}×{self.smallest} pixels and was given "
                f"{height}×{width}: use larger HR patches or fewer num_layers"
            )
        logits: Tensor = self.layers(x)
        return logits


def _spectral(in_channels: int, out_channels: int, *, halves: bool = False) -> nn.Module:
    """Convolution under spectral norm, without bias: 4×4 that halves the size, or 3×3 that keeps it."""
    kernel, stride = (4, 2) if halves else (3, 1)
    return spectral_norm(nn.Conv2d(in_channels, out_channels, kernel, stride, padding=1, bias=False))


@final
class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's U-Net with spectral norm: one logit per pixel (Wang et al. 2021, §3.4).

    Three halvings to 8·nf channels and three bilinear doublings back, each added to the map of its size on
    the way down; LeakyReLU 0.2; spectral norm on all but the first and the last convolution. 4,376,897
    parameters with the defaults.

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
        checked_spec(UNetDiscriminator, locals())
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
        if min(height, width) < 8:  # three halvings
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
