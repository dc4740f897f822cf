"""MATLAB's ``imresize`` (bicubic), exact to the last bit, and back-projection, which undoes its loss."""

import math
from functools import cache, lru_cache
from itertools import pairwise
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.pixels import PEAK, from_float, to_float

Edges = Literal["replicate", "symmetric"]

# At a scale of N or 1/N every weight is a small fraction, so a sum may fall on a half exactly, and MATLAB
# rounds it up (seen at every such pixel of its LR images). Floating sums land a few 1e-14 to either side, by
# the order of their terms; sums that are no tie are over 1e-7 away from one (N ≤ 16). The nudge makes the
# result independent of that order: of machine, block and crop. At other scales ties are left to the floating
# sums, as in the reference that the tests use; a few pixels in a thousand may differ by 1 between machines.
_TIE = 1e-9
# Outputs (or inputs, when upscaling) per block of the banded weight matrix: whole for a training patch.
_BLOCK = 128

_SMALL = 2**18  # bytes of a matrix that stays on its device: a training patch's

Band = tuple[int, int, NDArray[np.float64]]  # first input, last input + 1, weights (outputs, inputs)
Placed = tuple[tuple[int, int, Tensor], ...]  # the same on a device


def imresize(image: Tensor, scale: float, *, edges: Edges = "replicate", antialias: bool = True) -> Tensor:
    """Resize with MATLAB's bicubic: Keys' cubic (a = −0.5), widened by 1/scale when downscaling.

    out(i) = Σ_j k(s·(u_i − j)) x(j) / Σ_j k(s·(u_i − j)), u_i = i/scale + (1 − 1/scale)/2,
    s = min(scale, 1), i and j counted from 1; rows (vertical) first, then columns. Integers are rounded,
    floor(x + 0.5), and clamped after *each* pass, as in MATLAB: with the defaults the public LR images of
    Set5 and Set14 come out with no pixel different. Floating images are neither rounded nor clamped, and are
    differentiable.

    The sums are taken in float64 whatever the dtype, so neither autocast nor TF32 changes a result.

    Args:
        image: (…, H, W), uint8, uint16 or floating; any device.
        scale: output size over input size, above 0. The size is ceil(n·scale) in floating point, as MATLAB's.
        edges: how pixels beyond the border are made. ``replicate`` is what made the public test sets; newer
            MATLAB mirrors (``symmetric``), which changes the outermost few pixels alone.
        antialias: False keeps the kernel narrow when downscaling (MATLAB's ``'Antialiasing', false``).

    Returns:
        (…, ceil(H·scale), ceil(W·scale)) of the dtype of ``image``.

    Raises:
        InputError: ``scale`` is not a finite positive number, ``edges`` is unknown or the image is empty.
        TypeError: the dtype is neither uint8, uint16 nor floating.

    Source:
        Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 1981, eq. (15).

    >>> imresize(torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4) * 16, 0.5)
    tensor([[[ 41,  73],
             [167, 199]]], dtype=torch.uint8)
    """
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"scale {scale} is not a finite number above 0")
    if edges not in ("replicate", "symmetric"):
        raise InputError(f"edges {edges!r} is neither 'replicate' nor 'symmetric'")
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise InputError(f"an image is (…, H, W) with H, W ≥ 1, got {tuple(image.shape)}")
    maximum = PEAK.get(image.dtype)
    if maximum is None and not image.is_floating_point():
        raise TypeError(f"image is {image.dtype}; give uint8, uint16 or a floating dtype")
    home = image.device
    if home.type == "mps":  # has no float64
        image = image.cpu()

    factor = max(scale, 1 / scale)
    half = 0.5 + (_TIE if math.isclose(factor, round(factor), rel_tol=1e-12) else 0.0)
    out = image.to(torch.float64)
    height, width = image.shape[-2:]
    out = _settle(_rows(out, _bands_on(out.device, height, scale, edges, antialias)), maximum, half)
    out = _settle(_columns(out, _bands_on(out.device, width, scale, edges, antialias)), maximum, half)
    return out.to(image.dtype).to(home)


def _bands_on(device: torch.device, size: int, scale: float, edges: Edges, antialias: bool) -> Placed:
    """The matrix of one axis on a device: a patch's stays there, so that no copy makes the processor wait."""
    bands = _bands(size, scale, edges, antialias)
    if device.type == "cpu" or sum(w.nbytes for *_, w in bands) > _SMALL:
        return _placed(bands, device)
    return _kept(device, size, scale, edges, antialias)


def _placed(bands: tuple[Band, ...], device: torch.device) -> Placed:
    return tuple((first, end, torch.from_numpy(w).to(device)) for first, end, w in bands)


# Without a limit: a CUDA graph may go on reading what it has been recorded with.
@cache
def _kept(device: torch.device, size: int, scale: float, edges: Edges, antialias: bool) -> Placed:
    with torch.inference_mode(False):
        return _placed(_bands(size, scale, edges, antialias), device)


def _rows(x: Tensor, bands: Placed) -> Tensor:
    """(…, H, W) → (…, H', W)."""
    parts = [w @ x[..., first:end, :] for first, end, w in bands]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)


def _columns(x: Tensor, bands: Placed) -> Tensor:
    """(…, H, W) → (…, H, W')."""
    parts = [x[..., first:end] @ w.T for first, end, w in bands]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _settle(x: Tensor, maximum: int | None, half: float) -> Tensor:
    """Round half up and clamp, where the image is of integers."""
    return x if maximum is None else x.add_(half).floor_().clamp_(0, maximum)


# The arrays are NumPy's: a tensor made under inference_mode could never serve a training step later.
@lru_cache(maxsize=256)
def _bands(size: int, scale: float, edges: Edges, antialias: bool) -> tuple[Band, ...]:
    """The matrix of one axis, (ceil(size·scale), size), as dense blocks around its diagonal."""
    narrow = min(scale, 1.0) if antialias else 1.0
    reach = 4.0 / narrow  # width of the kernel in input pixels
    length = math.ceil(size * scale)
    centre = np.arange(1, length + 1) / scale + 0.5 * (1 - 1 / scale)  # counted from 1, as in MATLAB
    taps = np.floor(centre - reach / 2)[:, None] + np.arange(math.ceil(reach) + 2)
    weights = narrow * _cubic(narrow * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    source = taps.astype(np.int64) - 1
    if edges == "replicate":
        source = source.clip(0, size - 1)
    else:
        source = source % (2 * size)  # the mirrored image repeats with this period
        source = np.minimum(source, 2 * size - 1 - source)

    # At least one block; each about _BLOCK on the longer of the two sides.
    cuts = np.linspace(0, length, max(1, round(max(length, size) / _BLOCK)) + 1).round().astype(int).tolist()
    bands = []
    for top, bottom in pairwise(cuts):
        first, end = int(source[top:bottom].min()), int(source[top:bottom].max()) + 1
        block = np.zeros((bottom - top, end - first))
        rows = np.arange(bottom - top)[:, None]
        np.add.at(block, (rows, source[top:bottom] - first), weights[top:bottom])
        bands.append((first, end, block))
    return tuple(bands)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = −0.5."""
    x = np.abs(x)
    square, cube = x * x, x * x * x  # not x**3: pow() rounds differently, and a tie may hang on the last bit
    near = 1.5 * cube - 2.5 * square + 1
    far = -0.5 * cube + 2.5 * square - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@final
class BackProjection:
    """Iterative back-projection: SR ← SR + step · up(LR − down(SR)), up and down being MATLAB's bicubic.

    The shrunk SR comes nearer to the LR, and mostly the SR to the HR; detail that shrinking removes stays. It
    presumes an LR made by bicubic shrinking: noise and JPEG artefacts of a photo are put back, too.

    Args:
        scale: s, at least 2.
        iterations: at least 1; after ten or so little changes.
        step: of each iteration, above 0 to 2; beyond 1 it may ring.

    Raises:
        InputError: a setting out of range.

    Source:
        Irani, Peleg, "Improving resolution by image registration", CVGIP 1991, section 3; Timofte et al.,
        "Seven ways to improve example-based single image super resolution", CVPR 2016, section 3.4.
    """

    def __init__(self, scale: int, iterations: int = 10, step: float = 1.0) -> None:
        if scale < 2 or iterations < 1 or not 0 < step <= 2:
            raise InputError(
                f"back-projection: scale={scale} must be at least 2, iterations={iterations} at least 1, "
                f"step={step} above 0 and at most 2"
            )
        self.scale, self.iterations, self.step = scale, iterations, step

    def __call__(self, sr: Tensor, lr: Tensor) -> Tensor:
        """SR (…,C,s·h,s·w) and LR (…,C,h,w), uint8, uint16 or in [0,1], to an SR of the same type.

        Raises:
            InputError: ``sr`` is not s times as large as ``lr``.
        """
        expected = (*lr.shape[:-2], lr.shape[-2] * self.scale, lr.shape[-1] * self.scale)
        if tuple(sr.shape) != expected:
            raise InputError(
                f"back-projection: SR is {tuple(sr.shape)}, and {tuple(lr.shape)} enlarged by {self.scale} "
                f"is {expected}"
            )
        picture = sr if sr.is_floating_point() else to_float(sr)
        given = to_float(lr, picture.dtype).to(picture.device)
        for _ in range(self.iterations):
            error = given - imresize(picture, 1 / self.scale)
            picture = picture + self.step * imresize(error, self.scale)
        return from_float(picture.clamp(0, 1), sr.dtype)
