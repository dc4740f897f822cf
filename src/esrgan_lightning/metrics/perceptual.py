"""LPIPS and DISTS as figures of quality: of 8-bit pictures, without the border, as papers print them."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from esrgan_lightning.metrics.fidelity import checked
from esrgan_lightning.metrics.mean import MeanFidelity
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork


def lpips(sr: Tensor, hr: Tensor, crop: int, network: LPIPSNetwork) -> Tensor:
    """LPIPS of each image: how far apart deep features say that the two are; lower is better.

    Both images are rounded to 8 bits first; gray is repeated in three channels. For a loss take the network
    itself, which neither rounds nor crops, and has gradients.

    Args:
        sr: (B, C, H, W), C = 3 or 1, uint8 or floating in [0,1] (clamped).
        hr: the truth, of the same shape; the dtype may differ.
        crop: pixels left out on each side.
        network: computes where it lies, in its own precision.

    Returns:
        (B,), float64, on the device of ``sr``; 0 where the two are identical.

    Raises:
        InputError: as ``psnr_y``, or less is left than the network needs.
        ValueError: a value is NaN.

    Source:
        See :class:`~esrgan_lightning.networks.similarity.LPIPSNetwork`.
    """
    return _measure(sr, hr, crop, network)


def dists(sr: Tensor, hr: Tensor, crop: int, network: DISTSNetwork) -> Tensor:
    """DISTS of each image, as ``lpips``: structure and texture of deep features; lower is better.

    The images are not shrunk, as they are in the authors' program.

    Source:
        See :class:`~esrgan_lightning.networks.similarity.DISTSNetwork`.
    """
    return _measure(sr, hr, crop, network)


class MeanSimilarity(MeanFidelity):
    """Mean of a distance by a network over all images seen, on all processes.

    Args:
        network: is shared, follows the metric to its device, and stays out of its ``state_dict``.
        crop: pixels left out on each side.
    """

    higher_is_better = False

    def __init__(self, network: nn.Module, crop: int, **kwargs: Any) -> None:
        super().__init__(crop, **kwargs)
        # A tuple hides the module from nn.Module's registration, and so from checkpoints.
        self._hidden = (network,)

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The network's distance of each pair of 8-bit images within the border."""
        return _measure(sr, hr, self.crop, self._hidden[0])

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> nn.Module:
        self._hidden[0]._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, *args, **kwargs)


@final
class LPIPS(MeanSimilarity):
    """Mean of ``lpips`` over all images seen, on all processes."""


@final
class DISTS(MeanSimilarity):
    """Mean of ``dists`` over all images seen, on all processes."""


@torch.no_grad()
def _measure(sr: Tensor, hr: Tensor, crop: int, network: nn.Module) -> Tensor:
    buffer = next(network.buffers())
    pair = ((image.to(buffer) / 255).expand(-1, 3, -1, -1).contiguous() for image in checked(sr, hr, crop))
    found: Tensor = network(*pair)
    return found.to(sr.device, torch.float64)
