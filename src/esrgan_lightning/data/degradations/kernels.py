"""The blur kernels of Real-ESRGAN: densities over a grid, and the circular low-pass filter."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

Kernel = NDArray[np.float64]

KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


def blur_kernel(
    kind: str, size: int, sigma_x: float, sigma_y: float = 0.0, angle: float = 0.0, beta: float = 1.0
) -> Kernel:
    """k(x) ∝ f(xᵀ Σ⁻¹ x), Σ = R diag(σx², σy²) Rᵀ, R the turn by ``angle``; the sum is 1.

    f(q) = exp(−q/2) for ``iso`` and ``aniso``, exp(−q^β/2) for ``generalized_…`` and 1/(1 + q^β) for
    ``plateau_…``. β = 1 makes the generalised one Gaussian; below 1 the peak is sharp and the tails are
    heavy, above 1 the top is flat.

    Args:
        kind: one of ``KINDS``; an ``iso`` kind takes σx for both axes and no angle.
        size: side in pixels, odd.
        sigma_x: along the turned x axis (columns), in pixels.
        sigma_y: along the turned y axis (rows).
        angle: in radians, from the x axis towards the y axis.
        beta: the exponent.

    Returns:
        (size, size).

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.1 and appendix; Liu et al. 2020 for the
        generalised and plateau-shaped densities.
    """
    if "aniso" not in kind:
        sigma_y, angle = sigma_x, 0.0
    y, x = _grid(size)
    along = (math.cos(angle) * x + math.sin(angle) * y) / sigma_x
    across = (math.cos(angle) * y - math.sin(angle) * x) / sigma_y
    q = along**2 + across**2
    if kind.startswith("plateau"):
        kernel = 1 / (1 + q**beta)
    else:
        kernel = np.exp(-0.5 * (q**beta if kind.startswith("generalized") else q))
    return np.asarray(kernel / kernel.sum(), np.float64)


def sinc_kernel(cutoff: float, size: int) -> Kernel:
    """k(x) ∝ ωc / (2π r) · J1(ωc r), r = |x|: the ideal low-pass filter of a disc, cut off; the sum is 1.

    It rings at edges, as over-sharpened pictures do.

    Args:
        cutoff: ωc in radians per pixel, (0, π].
        size: side in pixels, odd.

    Returns:
        (size, size).

    Source:
        Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.4, eq. (6).
    """
    r = np.hypot(*_grid(size))
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * r)).numpy()
    with np.errstate(invalid="ignore"):
        kernel = cutoff * bessel / (2 * math.pi * r)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)  # the limit at r → 0
    return np.asarray(kernel / kernel.sum(), np.float64)


def pulse() -> Kernel:
    """(1,1): leaves the image as it is."""
    return np.ones((1, 1))


def padded(kernel: Kernel, size: int) -> Kernel:
    """The kernel amid zeros, (size, size): kernels of one batch have one size."""
    return np.pad(kernel, (size - len(kernel)) // 2)


def _grid(size: int) -> NDArray[np.float64]:
    """Rows and columns counted from the centre, (2, size, size)."""
    return np.mgrid[:size, :size] - float(size // 2)
