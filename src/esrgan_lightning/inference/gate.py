"""Between the pixels of an image and the numbers of a network."""

from typing import NamedTuple

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import from_float, to_float


class Gate(NamedTuple):
    """Into a network and out again. Gray goes through three channels, colour through one in turn.

    Attributes:
        device: The network's.
        dtype: The network's.
        channels: The network's, 3 or 1.
    """

    device: torch.device
    dtype: torch.dtype
    channels: int

    def enter(self, image: Tensor) -> Tensor:
        """(B,C,h,w), C 1 or 3, uint8, uint16 or floating in [0,1] → what the network takes, on its device."""
        colors = image.shape[1]
        x = to_float(image.to(self.device), self.dtype)
        if colors < self.channels:
            return x.expand(-1, self.channels, -1, -1)
        return x.reshape(-1, 1, *x.shape[-2:]) if colors > self.channels else x

    def leave(self, sr: Tensor, like: Tensor) -> Tensor:
        """What the network made of ``like`` → (B,C,…) of its dtype, on the network's device.

        Raises:
            InputError: A value is not finite.
        """
        if not sr.isfinite().all():
            raise InputError("the network's output is not finite: its weights or its precision do not serve")
        colors = like.shape[1]
        sr = sr.to(torch.promote_types(sr.dtype, torch.float32)).clamp(0, 1)
        if colors < self.channels:
            sr = sr.mean(1, keepdim=True)
        elif colors > self.channels:
            sr = sr.reshape(-1, colors, *sr.shape[-2:])
        return from_float(sr, like.dtype)
