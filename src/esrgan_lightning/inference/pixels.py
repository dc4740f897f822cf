"""Between the pixels of an image and the numbers of a network, and the format of these."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import from_float, to_float

Precision = Literal["fp32", "bf16", "fp16"]

_AUTOCAST = MappingProxyType({"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16})


def check_precision(precision: str) -> None:
    """Raises InputError unless the name is one of fp32, bf16 and fp16."""
    if precision not in _AUTOCAST:
        raise InputError(f"precision={precision} must be one of {', '.join(_AUTOCAST)}")


@contextmanager
def computing(device: torch.device, precision: Precision) -> Iterator[None]:
    """No graph, and the format asked for, whatever stands around: autocast to bf16 or fp16, or none.

    On CUDA fp32 is fp32: PyTorch would let convolutions round their inputs to TF32's 10 bits.
    """
    half = _AUTOCAST[precision]
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    if device.type == "cuda":  # on the CPU pictures go side by side, and this is no thread's own
        convolutions.fp32_precision = "ieee"
    try:
        # Not inference_mode: its tensors could never take part in a caller's training.
        with torch.no_grad(), torch.autocast(device.type, dtype=half, enabled=half is not None):
            yield
    finally:
        convolutions.fp32_precision = before


class PixelAdapter(NamedTuple):
    """Into a network and out again. Gray goes through three channels, colour through one in turn."""

    device: torch.device
    dtype: torch.dtype
    channels: int  # the network's, 3 or 1

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
