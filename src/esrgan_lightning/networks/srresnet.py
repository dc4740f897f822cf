"""SRGAN's generator."""

import math
from typing import final

import torch
from torch import Tensor, nn

from esrgan_lightning.networks.blocks import (
    ResidualBlock,
    check_colors,
    checked_spec,
    conv3x3,
    pass_colors,
    pixel_shuffles,
    scaled_msra_init,
)


@final
class SRResNet(nn.Module):
    """SRGAN's generator SRResNet, with batch norm or without (Ledig et al. 2017, §2.1.1, fig. 4).

    f = PReLU(conv9×9(x)); f ← f + BN(conv(block_N(…block_1(f)))); per step: f ← PReLU(shuffle(conv(f)));
    SR = conv9×9(f); BN where there is batch norm, one slope per PReLU. ``batch_norm=False`` is the second
    step of ESRGAN's ablation (§4.4).

    1,545,238 parameters at x4 with the defaults; 1,549,462 with batch norm, SRGAN's own.

    Args:
        in_channels: Channels of the LR image.
        out_channels: Channels of the SR image.
        num_features: Channels in the trunk.
        num_blocks: Residual blocks.
        scale: 1 (no step), 2 (×2), 3 (×3), 4 (×2 twice) or 8 (×2 thrice).
        batch_norm: As SRGAN has it; ESRGAN takes it out.
        init_scale: Factor on the MSRA initialisation's standard deviation, for all convolutions; 1 is none.
            Without batch norm the residual blocks need it small, or the features grow with depth.
        bilinear_init: As in :class:`~esrgan_lightning.networks.RRDBNet`.

    Shape:
        (B,in_channels,h,w) in [0,1] → (B,out_channels,s·h,s·w), not clamped.

    Raises:
        InputError: A setting out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        num_features: int = 64,
        num_blocks: int = 16,
        scale: int = 4,
        batch_norm: bool = False,
        init_scale: float = 0.1,
        bilinear_init: bool = False,
    ) -> None:
        super().__init__()
        self.spec = checked_spec(SRResNet, locals())
        self.in_channels, self.out_channels, self.scale = in_channels, out_channels, scale
        self.first = nn.Sequential(nn.Conv2d(in_channels, num_features, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(ResidualBlock(num_features, batch_norm=batch_norm) for _ in range(num_blocks)),
            conv3x3(num_features, num_features),
            *([nn.BatchNorm2d(num_features)] if batch_norm else []),
        )
        self.upsampling = pixel_shuffles(num_features, scale, nn.PReLU)
        self.last = nn.Conv2d(num_features, out_channels, 9, padding=4)
        scaled_msra_init(self, init_scale)
        if bilinear_init:
            check_colors("SRResNet", in_channels, out_channels, num_features)
            self._start_bilinear()

    @torch.no_grad()
    def _start_bilinear(self) -> None:
        """Shuffles the phases of bilinear enlargement; PReLU lets colors pass, which are no less than 0."""
        colors, one = self.out_channels, torch.ones(1, 1, 1, 1)
        end = self.body[-1]
        for each in (end, self.last):
            each.weight.mul_(0.1)  # type: ignore[operator]
        pass_colors(self.first[0], colors, one)  # type: ignore[arg-type]
        if isinstance(end, nn.Conv2d):
            pass_colors(end, colors, 0 * one)
        else:
            nn.init.zeros_(end.weight[:colors])  # type: ignore[index]  # of a batch norm
        for conv in self.upsampling:
            if isinstance(conv, nn.Conv2d):
                factor = math.isqrt(conv.out_channels // conv.in_channels)
                # Of the pixel before, the pixel itself and the one behind it, for each phase.
                shift = (torch.arange(factor) + 0.5) / factor - 0.5
                phases = torch.stack((-shift.clamp(max=0), 1 - shift.abs(), shift.clamp(min=0)), 1)
                kernels = torch.einsum("ai,bj->abij", phases, phases).flatten(0, 1)
                pass_colors(conv, colors, kernels[:, None])
        pass_colors(self.last, colors, one, alone=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,h,w) in [0,1] → (B,out_channels,s·h,s·w), not clamped."""
        x = self.first(x)
        x = x + self.body(x)
        sr: Tensor = self.last(self.upsampling(x))
        return sr
