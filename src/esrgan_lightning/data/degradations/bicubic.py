"""``degradation=bicubic``: the field's standard."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from esrgan_lightning.data.degradations._common import check_seed
from esrgan_lightning.ops.resize import imresize


@final
@dataclass(frozen=True)
class Bicubic:
    """LR = imresize(HR, 1/scale), MATLAB's bicubic in every bit, on every device.

    Args:
        seed: taken as the other degradations take it; nothing is drawn.
    """

    seed: int = 0

    margin: ClassVar[int] = 2  # the widened kernel reaches 2 LR pixels

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def __call__(self, hr: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """uint8 (B,C,H,W) → uint8 (B,C,H/scale,W/scale); ``numbers`` (B,) are not looked at."""
        return imresize(hr, 1 / scale)
