"""Perceptual loss: the distance of two pictures in the features of a frozen network."""

from collections.abc import Callable, Sequence
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses.features import FeatureLoss
from esrgan_lightning.ops.distributed import mean_over_processes, process_number

_CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}


@final
class PerceptualLoss(FeatureLoss):
    """L = Σ_l w_l · d(φ_l(sr), φ_l(hr)), φ_l the features of layer l, d their mean L1 or squared distance.

    ESRGAN (section 3.3) takes VGG19's conv5_4 *before* activation with L1; SRGAN takes it after activation
    (``relu5_4``) with the squared distance, scaled by 0.006. With ``relative`` each layer's distance is
    divided by the same distance of the HR features from zero (for L1: the mean magnitude of φ_l(hr)), so that
    layers of unlike scale weigh alike.

    Args:
        backbone: As in :class:`~esrgan_lightning.losses.features.FeatureLoss`.
        layer_weights: As there.
        criterion: ``"l1"`` or ``"mse"``.
        relative: Divide each layer's distance by the size of the HR features.
        shift: Compare sample i of a batch from pixel (i mod shift, ⌊i/shift⌋ mod shift) on. The strides of
            the features always meet the s×s pixels that come of one LR pixel in the same place, so that
            errors which they do not see become a grid; with ``shift=s`` they see all. 1: whole pictures.

    Raises:
        InputError: As there; an unknown criterion, or a shift below 1.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer_weights: Sequence[float] | None = None,
        *,
        criterion: Literal["l1", "mse"] = "l1",
        relative: bool = False,
        shift: int = 1,
    ) -> None:
        super().__init__(backbone, layer_weights)
        if criterion not in _CRITERIA:
            raise InputError(f"criterion={criterion}: expected one of {', '.join(_CRITERIA)}")
        if shift < 1:
            raise InputError(f"shift={shift} must be at least 1")
        self.criterion = criterion
        self.relative, self.shift = relative, shift

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Σ_l w_l · d(φ_l(sr), φ_l(hr)), with gradient to ``sr`` alone."""
        return super().forward(self._shifted(sr), self._shifted(hr))

    def _shifted(self, picture: Tensor) -> Tensor:
        """(B,3,H,W) → (B,3,H−shift+1,W−shift+1), each sample from a pixel of its own on."""
        if self.shift == 1:
            return picture
        height, width = (side - self.shift + 1 for side in picture.shape[-2:])
        first = process_number() * len(picture)  # so that the batch of all processes is one
        samples = range(first, first + len(picture))
        tops = [index // self.shift % self.shift for index in samples]
        lefts = [index % self.shift for index in samples]
        crops = zip(picture, tops, lefts, strict=True)
        return torch.stack([each[:, top : top + height, left : left + width] for each, top, left in crops])

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The mean distance of two feature maps."""
        distance = _CRITERIA[self.criterion]
        if self.relative:
            # Of the whole batch: each process's own size would weigh the processes' images differently.
            return distance(sr, hr) / mean_over_processes(distance(hr, torch.zeros_like(hr)))
        return distance(sr, hr)
