"""LPIPS and DISTS as figures of quality: of 8-bit pictures, without the border, as papers print them."""

import torch
from torch import Tensor

from esrgan_lightning.metrics.fidelity import checked
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork


@torch.no_grad()
def lpips(sr: Tensor, hr: Tensor, crop: int, network: LPIPSNetwork | DISTSNetwork) -> Tensor:
    """LPIPS of each image: how far apart deep features say that the two are; lower is better.

    Both images are rounded to 8 bits first; gray is repeated in three channels. For a loss take the network
    itself, which neither rounds nor crops, and has gradients.

    Args:
        sr: as in ``psnr_y``, whose errors are raised here, too.
        hr: likewise.
        crop: likewise; no less may be left than the network needs.
        network: computes where it lies, in its own precision.

    Returns:
        (B,), float64, on the device of ``sr``; 0 where the two are identical.
    """
    buffer = next(network.buffers())
    pair = ((image.to(buffer) / 255).expand(-1, 3, -1, -1).contiguous() for image in checked(sr, hr, crop))
    found: Tensor = network(*pair)
    return found.to(sr.device, torch.float64)


def dists(sr: Tensor, hr: Tensor, crop: int, network: DISTSNetwork) -> Tensor:
    """DISTS of each image, as ``lpips``: structure and texture of deep features; lower is better.

    The images are not shrunk, as they are in the authors' program.
    """
    return lpips(sr, hr, crop, network)
