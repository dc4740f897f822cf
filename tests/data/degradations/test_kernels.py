"""Kernels against closed forms written by the book, and against SciPy."""

import math

import numpy as np
import pytest
from scipy import special, stats

from esrgan_lightning.data.degradations import blur_kernel, sinc_kernel
from esrgan_lightning.data.degradations.kernels import padded, pulse


def moments(kernel):
    """Mean and covariance of (x, y) under the kernel as a density."""
    y, x = np.mgrid[: len(kernel), : len(kernel)]
    points = np.stack([x.ravel(), y.ravel()])
    return np.average(points, axis=1, weights=kernel.ravel()), np.cov(points, aweights=kernel.ravel(), ddof=0)


def covariance(sigma_x, sigma_y, angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T


@pytest.mark.parametrize("angle", [0.0, 0.6, -2.1, math.pi])
def test_gaussian_has_the_covariance_that_was_asked_for(angle):
    """Breaks if axes are swapped, the angle turns the wrong way, or σ is taken for a variance."""
    mean, measured = moments(blur_kernel("aniso", 41, 3.0, 1.5, angle))
    np.testing.assert_allclose(mean, 20, atol=1e-12)
    np.testing.assert_allclose(measured, covariance(3.0, 1.5, angle), atol=2e-3)
    _, measured = moments(blur_kernel("iso", 41, 3.0, 1.5, angle))  # takes neither the other σ nor the angle
    np.testing.assert_allclose(measured, 9 * np.eye(2), atol=2e-3)


def test_densities_are_those_of_the_book():
    """Breaks if β, the half in the exponent or the plateau's one is lost."""
    sigma = covariance(2.0, 1.2, 0.4)
    y, x = np.mgrid[-7:8, -7:8]
    points = np.stack([x, y], -1)
    q = np.einsum("...i,ij,...j", points, np.linalg.inv(sigma), points)
    expected = {
        "aniso": stats.multivariate_normal([0, 0], sigma).pdf(points),
        "generalized_aniso": np.exp(-(q**0.7) / 2),
        "plateau_aniso": 1 / (q**0.7 + 1),
    }
    for kind, density in expected.items():
        kernel = blur_kernel(kind, 15, 2.0, 1.2, 0.4, 0.7)
        np.testing.assert_allclose(kernel, density / density.sum(), rtol=1e-10)


@pytest.mark.parametrize("size", [7, 13, 21])
def test_sinc_is_the_bessel_function(size):
    cutoff = 1.7
    y, x = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]
    r = np.hypot(x, y)
    r[size // 2, size // 2] = 1e-6  # near enough to the limit
    expected = cutoff * special.j1(cutoff * r) / (2 * math.pi * r)
    # torch's J1 is good to 5e-7.
    np.testing.assert_allclose(sinc_kernel(cutoff, size), expected / expected.sum(), atol=1e-7)


def test_padding_keeps_the_centre():
    assert padded(pulse(), 5)[2, 2] == 1
    assert padded(pulse(), 5).sum() == 1
    kernel = blur_kernel("iso", 7, 1.0)
    np.testing.assert_array_equal(padded(kernel, 21)[7:14, 7:14], kernel)
