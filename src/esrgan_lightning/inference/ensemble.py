"""A network over an image turned and mirrored eight ways."""

from collections.abc import Callable

import torch
from torch import Tensor

# The symmetries besides leaving it as it is: quarter turns, after a mirror or not.
_OTHERS = [(turns, mirrored) for mirrored in (False, True) for turns in range(4)][1:]


def self_ensemble(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """The mean of the network over the eight symmetries of the square: 1/8 Σ_g g⁻¹ f(g x).

    Args:
        network: (B,C,H,W) → (B,C,s·H,s·W), and the same for (B,C,W,H).
        image: (B,C,H,W), floating, so that the mean is taken before anything is rounded.

    Returns:
        (B,C,s·H,s·W).

    Source:
        Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017,
        section 3.4 (geometric self-ensemble).
    """
    total = network(image).clone()
    for turns, mirrored in _OTHERS:
        turned = torch.rot90(image.flip(-1) if mirrored else image, turns, (-2, -1))
        back = torch.rot90(network(turned), -turns, (-2, -1))
        total += back.flip(-1) if mirrored else back
    return total.div_(8)
