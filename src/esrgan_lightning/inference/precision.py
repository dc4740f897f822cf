"""The number format that a trained network computes in."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal

import torch

from esrgan_lightning.errors import InputError

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
    convolutions.fp32_precision = "ieee"
    try:
        # Not inference_mode: its tensors could never take part in a caller's training.
        with torch.no_grad(), torch.autocast(device.type, dtype=half, enabled=half is not None):
            yield
    finally:
        convolutions.fp32_precision = before
