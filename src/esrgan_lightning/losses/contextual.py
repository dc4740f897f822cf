"""Contextual loss: are the features of HR found in SR, wherever they are?"""

import math
from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses.features import FeatureLoss


@final
class ContextualLoss(FeatureLoss):
    """L = Σ_l w_l · CX(φ_l(sr), φ_l(hr)), φ_l the features of layer l of a frozen network.

    Mechrez et al. 2018, "The contextual loss for image transformation with non-aligned data" (§3), and for
    super-resolution "Maintaining natural image statistics with the contextual loss". It compares
    distributions of features, not positions: see :func:`contextual_loss`.

    Args:
        backbone: As in :class:`~esrgan_lightning.losses.features.FeatureLoss`.
        layer_weights: As there.
        bandwidth: h, above 0.
        block: SR positions compared at a time, at least 1; a limit on memory alone.

    Raises:
        InputError: As there; a bandwidth or block out of range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer_weights: Sequence[float] | None = None,
        *,
        bandwidth: float = 0.5,
        block: int = 1024,
    ) -> None:
        super().__init__(backbone, layer_weights)
        if not (math.isfinite(bandwidth) and bandwidth > 0):
            raise InputError(f"bandwidth={bandwidth}: expected a number above 0 such as 0.5")
        if block < 1:
            raise InputError(f"block={block}: expected at least 1")
        self.bandwidth, self.block = bandwidth, block

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """CX of two feature maps."""
        return contextual_loss(sr, hr, bandwidth=self.bandwidth, block=self.block)


def contextual_loss(x: Tensor, y: Tensor, *, bandwidth: float = 0.5, block: int = 1024) -> Tensor:
    """−log(mean_j max_i CX_ij), mean over the images (Mechrez et al. 2018, eq. 2 to 5).

    With x_i the N features of an SR image, y_j those of its HR, μ the mean of the y_j::

        d_ij = 1 − cos(x_i − μ, y_j − μ)            d̃_ij = d_ij / (min_k d_ik + ε),  ε = 1e-5
        w_ij = exp((1 − d̃_ij)/h)                    CX_ij = w_ij / Σ_k w_ik

    Between 0, where each y_j is the one match of some x_i, and log N. An (N,N) matrix is never held: rows are
    made ``block`` at a time for one image, and made again in the backward pass.

    Args:
        x: features of SR, (B,C,H,W), float32 or float64.
        y: features of HR, of the same shape.
        bandwidth: h; the smaller, the more a position has to decide for one match.
        block: rows made at a time.

    Returns:
        A scalar; computed apart from autocast.
    """
    with torch.autocast(x.device.type, enabled=False):
        return torch.stack(
            [_of_one_image(*pair, bandwidth, block) for pair in zip(x.flatten(2), y.flatten(2), strict=True)]
        ).mean()


def _of_one_image(x: Tensor, y: Tensor, bandwidth: float, block: int) -> Tensor:
    """(C,N) twice → scalar."""
    centre = y.mean(1, keepdim=True)
    x, y = (F.normalize(each - centre, dim=0) for each in (x, y))
    best: Tensor | None = None  # max_i CX_ij over the rows so far, (N,)
    for rows in torch.split(x, block, dim=1):
        found: Tensor = checkpoint(_best_matches, rows, y, bandwidth, use_reentrant=False)
        best = found if best is None else torch.maximum(best, found)
    assert best is not None
    return -best.mean().log()


def _best_matches(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """max_i CX_ij over these rows: unit vectors (C,n), (C,N) → (N,)."""
    distance = (1 - x.T @ y).clamp(min=0)  # rounding: a cosine may pass 1
    relative = distance / (distance.amin(1, keepdim=True) + 1e-5)
    # exp(1/h) stands above and below the bar of CX: a softmax without it, in which nothing overflows.
    return (-relative / bandwidth).softmax(1).amax(0)
