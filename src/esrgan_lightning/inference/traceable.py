"""A generator in the form that exporters take: nothing in Python depends on the size of the image."""

from typing import Any, final

import torch
from torch import Tensor, nn

from esrgan_lightning.networks import RRDBNet, network_spec

# Odd and unequal, so that no exporter takes a multiple of the fold or a square for granted.
EXAMPLE = (2, 21, 23)


@final
class Traceable(nn.Module):
    """(B,C,h,w), float32 → (B,C',s·h,s·w), float32, for every h and w, as a graph without branches.

    A network that folds pixels (scales 2 and 1) has its input filled up by indices that are computed from h
    and w, so that the graph holds for sizes which the fold does not divide.

    Args:
        generator: In eval mode on the CPU.
        half: Compute in float16; input and output stay float32.
    """

    def __init__(self, generator: nn.Module, *, half: bool) -> None:
        super().__init__()
        self.generator = generator.half() if half else generator
        self.half_precision = half

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,h,w) → (B,C',s·h,s·w)."""
        height, width = x.shape[-2:]
        net = self.generator
        if not isinstance(net, RRDBNet) or net.fold == 1:
            return self._run(net, x)
        sr = self._run(net.forward_aligned, _pad_to_fold(x, net.fold))
        # Not sr[..., :s·h, :s·w]: whether that is the whole would become a condition on the size.
        rows = torch.arange(net.scale * height, device=x.device)
        columns = torch.arange(net.scale * width, device=x.device)
        return sr.index_select(2, rows).index_select(3, columns)

    def _run(self, function: Any, x: Tensor) -> Tensor:
        sr: Tensor = function(x.half()).float() if self.half_precision else function(x)
        return sr


def _pad_to_fold(x: Tensor, fold: int) -> Tensor:
    """What :func:`~esrgan_lightning.networks.rrdb.pad_to_fold` gives, without a branch on the size."""
    height, width = x.shape[-2:]
    rows = torch.arange((height + fold - 1) // fold * fold, device=x.device)
    columns = torch.arange((width + fold - 1) // fold * fold, device=x.device)
    mirrors = (rows[-1] < 2 * height - 1) & (columns[-1] < 2 * width - 1)

    def source(index: Tensor, length: int) -> Tensor:
        last = length - 1
        return torch.where(mirrors & (index > last), 2 * last - index, index.clamp(max=last))

    return x.index_select(2, source(rows, height)).index_select(3, source(columns, width))


def description(generator: nn.Module, provenance: dict[str, Any]) -> dict[str, Any]:
    """What an export says of itself: plain values, the same in every format."""
    channels = int(getattr(generator, "in_channels", 3))
    return {
        "architecture": network_spec(generator)["architecture"],
        "scale": generator.scale,
        "in_channels": channels,
        "out_channels": getattr(generator, "out_channels", channels),
        "fold": getattr(generator, "fold", 1),
        "lineage": {"spec": network_spec(generator), "provenance": provenance},
    }
