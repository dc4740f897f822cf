"""SRCNN, the first convolutional network for super-resolution."""

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.blocks import checked_spec, scaled_msra_init
from esrgan_lightning.ops.resize import imresize


@final
class SRCNN(nn.Module):
    """Three convolutions on the bicubic enlargement of the LR image (Dong et al. 2014; 2016, §3.1).

    SR = conv_r(ReLU(conv_m(ReLU(conv_e(up(x)))))), up = MATLAB's bicubic, with nf, nf/2 and out_channels
    channels: patch extraction, non-linear mapping and reconstruction. 9-1-5 on one channel has 8,032 weights,
    9-5-5 has 57,184 (the papers' own counts), and 97 biases each; on RGB 20,099 and 69,251 parameters.

    What differs from the papers: RGB in place of Y (the 2016 paper, §4.5, has both); zero padding, where
    theirs shrinks the picture; no rounding of the enlarged image; MSRA initialisation.

    Args:
        in_channels: Channels of the LR image.
        out_channels: Channels of the SR image.
        num_features: Filters of the first layer; the second has half of them.
        kernels: Sides of the three layers' filters, odd; 9-1-5, 9-3-5 or 9-5-5 in the papers.
        scale: 1 (no enlargement), 2, 3, 4 or 8.
        init_scale: Factor on the MSRA initialisation's standard deviation; 1 is none.

    Shape:
        (B,in_channels,h,w) in [0,1] → (B,out_channels,s·h,s·w), not clamped.

    Raises:
        InputError: A setting out of range.
    """

    response: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        num_features: int = 64,
        kernels: Sequence[int] = (9, 1, 5),
        scale: int = 4,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.spec = checked_spec(SRCNN, locals())
        if num_features % 2:
            raise InputError(f"SRCNN: num_features={num_features} must be even: the second layer has half")
        self.spec["arguments"]["kernels"] = sides = _sides(kernels)
        self.in_channels, self.out_channels, self.scale = in_channels, out_channels, scale
        widths = (in_channels, num_features, num_features // 2, out_channels)
        self.extract, self.map, self.reconstruct = (
            nn.Conv2d(widths[layer], widths[layer + 1], side, padding=side // 2)
            for layer, side in enumerate(sides)
        )
        # A constant of the scale, so no part of the weights.
        self.register_buffer("response", _response(scale), persistent=False)
        scaled_msra_init(self, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,h,w) in [0,1] → (B,out_channels,s·h,s·w), not clamped."""
        x = self.enlarge(x)
        x = F.relu(self.extract(x))
        x = F.relu(self.map(x))
        sr: Tensor = self.reconstruct(x)
        return sr

    def enlarge(self, x: Tensor) -> Tensor:
        """(B,C,h,w) → (B,C,s·h,s·w), imresize as a transposed convolution, to be compiled and exported."""
        if self.scale == 1:
            return x
        (height, width), channels, first = x.shape[-2:], x.shape[1], 4 * self.scale
        # Half precision would round the picture itself to 8 bits or fewer.
        with torch.autocast(x.device.type, enabled=False):
            kernel = self.response.expand(channels, 1, -1, -1)
            padded = F.pad(x.to(kernel.dtype), (2, 2, 2, 2), mode="replicate")
            wide = F.conv_transpose2d(padded, kernel, stride=self.scale, groups=channels)
        return wide[..., first : first + self.scale * height, first : first + self.scale * width]


def _response(scale: int) -> Tensor:
    """What imresize makes of a single pixel of 1, (1,1,5s,5s): from 2 pixels before it to 2 after it."""
    # On the CPU also where the network itself is built on "meta".
    image = torch.zeros(1, 1, 9, 9, device="cpu", dtype=torch.float64)
    image[..., 4, 4] = 1
    window = slice(2 * scale, 7 * scale)
    return imresize(image, scale)[..., window, window].float()


def _sides(kernels: object) -> list[int]:
    sides = list(kernels) if isinstance(kernels, Sequence) and not isinstance(kernels, str) else []
    if len(sides) != 3 or not all(type(side) is int and side > 0 and side % 2 for side in sides):
        raise InputError(f"SRCNN: kernels={kernels!r} must be three odd whole numbers such as [9,1,5]")
    return sides
