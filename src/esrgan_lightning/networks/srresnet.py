"""SRGAN's generator."""

from typing import Any, final

from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.blocks import (
    ResidualBlock,
    conv3x3,
    pixel_shuffles,
    require_count,
    require_number,
    require_scale,
    scaled_msra_init,
)


@final
class SRResNet(nn.Module):
    """SRGAN's generator SRResNet, with batch norm or without (Ledig et al. 2017, §2.1.1, fig. 4).

    f = PReLU(conv9×9(x)); f ← f + BN(conv(block_N(…block_1(f)))); per step: f ← PReLU(shuffle(conv(f)));
    SR = conv9×9(f); BN where there is batch norm. This is the layout of the SRGAN paper: PReLU with one slope
    per layer, biased convolutions, 9×9 first and last, nothing after the last.
    ``batch_norm=False`` is the second step of ESRGAN's ablation (§4.4).

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
    ) -> None:
        super().__init__()
        require_scale("SRResNet", scale)
        require_count("SRResNet", in_channels=in_channels, out_channels=out_channels)
        require_count("SRResNet", num_features=num_features, num_blocks=num_blocks)
        require_number("SRResNet", "init_scale", init_scale)
        if not isinstance(batch_norm, bool):
            raise InputError(f"SRResNet: batch_norm={batch_norm!r} must be true or false")
        self.in_channels, self.out_channels, self.scale = in_channels, out_channels, scale
        self.spec: dict[str, Any] = {
            "architecture": "SRResNet",
            "arguments": {
                "in_channels": in_channels,
                "out_channels": out_channels,
                "num_features": num_features,
                "num_blocks": num_blocks,
                "scale": scale,
                "batch_norm": batch_norm,
                "init_scale": init_scale,
            },
        }

        self.first = nn.Sequential(nn.Conv2d(in_channels, num_features, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(ResidualBlock(num_features, batch_norm=batch_norm) for _ in range(num_blocks)),
            conv3x3(num_features, num_features),
            *([nn.BatchNorm2d(num_features)] if batch_norm else []),
        )
        self.upsampling = pixel_shuffles(num_features, scale, nn.PReLU)
        self.last = nn.Conv2d(num_features, out_channels, 9, padding=4)
        scaled_msra_init(self, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,h,w) in [0,1] → (B,out_channels,s·h,s·w), not clamped."""
        x = self.first(x)
        x = x + self.body(x)
        sr: Tensor = self.last(self.upsampling(x))
        return sr
