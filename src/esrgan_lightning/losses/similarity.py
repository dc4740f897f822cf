"""LPIPS and DISTS as losses: what pictures are measured with afterwards, minimised."""

from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor

from esrgan_lightning.losses._common import at_least_float32, check_same_shape
from esrgan_lightning.losses.features import NetworkLoss
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork


@final
class SimilarityLoss(NetworkLoss):
    """L = mean over images of d(sr, hr), d a frozen network's distance.

    The metric of the same name rounds to 8 bits and leaves out a border; this does neither.

    Args:
        backbone: (B,3,H,W) twice → (B,); it is frozen here.

    Shape:
        sr, hr: (B,3,H,W), or (B,1,H,W) of gray, in [0,1] → scalar, at least float32, computed apart
            from autocast. Gradient flows to sr alone.

    Raises:
        InputError: Pictures of different shapes, or smaller than the network needs.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The mean distance of the pairs."""
        check_same_shape(sr, hr)
        with torch.autocast(sr.device.type, enabled=False):
            sr, hr = (at_least_float32(each).expand(-1, 3, -1, -1) for each in (sr, hr.detach()))
            distance: Tensor = self.backbone(sr, hr)
        return distance.mean()


def lpips_loss(
    backbone: Literal["alex", "vgg", "squeeze"] = "alex", *, weights: str | Path | None = None
) -> SimilarityLoss:
    """LPIPS as a loss; the arguments are those of :class:`LPIPSNetwork`."""
    return SimilarityLoss(LPIPSNetwork(backbone, weights=weights))


def dists_loss(*, weights: str | Path | None = None) -> SimilarityLoss:
    """DISTS as a loss; the argument is that of :class:`DISTSNetwork`."""
    return SimilarityLoss(DISTSNetwork(weights=weights))
