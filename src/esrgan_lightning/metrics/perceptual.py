"""LPIPS, DISTS, Ma's score and PI, of 8-bit pictures without the border, as papers print them."""

import logging
import os
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.metrics.fidelity import checked, luma_within
from esrgan_lightning.metrics.niqe import niqe
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork

logger = logging.getLogger(__name__)

#: The shortest side of a picture of which Ma's score exists.
SMALLEST = 48
_LARGEST_FILE = 2**28  # bytes: the authors' forests are some megabytes
_FILE = "give the file NRQM_model.mat, in the repository chaofengc/IQA-PyTorch-Weights of Hugging Face"


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


@final
class MaModel:
    """Ma's regression forests: the package pyiqa (extra ``pi``) and a file with the authors' model.

    pyiqa is licensed for noncommercial use only (PolyForm Noncommercial 1.0.0), which is said when it is
    loaded. It computes on the CPU in float64: 512×512 pixels take some 35 s and 3 GB on one core.

    Args:
        weights: The model, a MATLAB file of numbers, of which nothing is run.

    Raises:
        InputError: The extra is not installed, no such file, or one that holds something else.

    Source:
        Ma, Yang, Yang, Yang, "Learning a no-reference quality metric for single-image super-resolution",
        CVIU 2017.
    """

    def __init__(self, weights: str | os.PathLike[str] | None) -> None:
        if weights is None:
            raise InputError(f"Ma's score needs its authors' model: {_FILE}")
        path = Path(weights)
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is no file, or one above {_LARGEST_FILE >> 20} MiB: {_FILE}")
        try:
            from pyiqa.archs.nrqm_arch import NRQM
        except ImportError as error:
            raise needs_extra("Ma's score and PI need, for noncommercial use only,", "pi") from error
        logger.warning("Ma's score is computed by pyiqa: licensed for noncommercial use only")
        probe = torch.randint(0, 256, (1, 1, SMALLEST, SMALLEST), generator=torch.Generator().manual_seed(0))
        try:  # a file that holds something else fails in as many ways as there are files
            self._forests = NRQM(test_y_channel=False, pretrained_model_path=str(path))
            score = self(probe)
        except Exception as error:
            raise InputError(f"{path} is no model of Ma's score ({error!r}): {_FILE}") from error
        if not score.isfinite().all():
            raise InputError(f"{path} is no model of Ma's score, it gives {score.item()}: {_FILE}")

    @torch.no_grad()
    def __call__(self, y: Tensor) -> Tensor:
        """(B,1,H,W) luma on 0..255 → (B,) scores, float64, on the CPU."""
        images = y.to("cpu", torch.float64)
        return torch.stack([self._forests(image[None]).reshape(()) for image in images])


def ma(image: Tensor, crop: int, model: MaModel) -> Tensor:
    """Ma's score: what people would say of a super-resolved picture, 0 to 10; higher is better.

    Computed on 8-bit luma (BT.601, rounded) without the border, as the PIRM challenge does. Image, border,
    returned shape and errors are those of ``niqe``, but that 48×48 pixels are enough.
    """
    y = luma_within(image, crop)
    if min(y.shape[-2:]) < SMALLEST:
        size = f"{y.shape[-2]}×{y.shape[-1]} (H×W)"
        raise InputError(f"Ma's score needs {SMALLEST}×{SMALLEST} pixels within the border, got {size}")
    return model(y).to(image.device)


def pi(image: Tensor, crop: int, model: MaModel) -> Tensor:
    """PI = ((10 − Ma) + NIQE) / 2 of each picture; lower is better, NaN where NIQE is.

    Arguments, returned shape and errors are those of ``ma`` and ``niqe``.

    Source:
        Blau, Mechrez, Timofte, Michaeli, Zelnik-Manor, "The 2018 PIRM challenge on perceptual image
        super-resolution", ECCV workshops 2018, section 3.
    """
    return ((10 - ma(image, crop, model)) + niqe(image, crop)) / 2
