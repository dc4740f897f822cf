"""RMSE as the PIRM challenge measures distortion, the abscissa of the perception-distortion plane."""

from typing import final

from torch import Tensor

from esrgan_lightning.metrics.fidelity import MeanFidelity, checked, luma, squared_error


def rmse_y(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """Root of the mean squared error of the luma, in levels of 0..255, one figure per image.

    Preparation, arguments and errors as ``psnr_y``, which is 20 log10(255 / rmse_y). Of several images the
    *squares* are averaged: √(mean over images of rmse_y²), see :class:`RMSEY`.

    Returns:
        (B,), float64, 0 where the two are identical.

    Source:
        The PIRM challenge on perceptual super-resolution, whose program measures Y without 4 pixels at each
        side: Blau et al., "The 2018 PIRM challenge on perceptual image super-resolution", section 2.
    """
    return squared_error(*luma(*checked(sr, hr, crop))).sqrt()


def rmse_rgb(sr: Tensor, hr: Tensor, crop: int) -> Tensor:
    """As ``rmse_y``, over all channels of the 8-bit images."""
    return squared_error(*checked(sr, hr, crop)).sqrt()


@final
class RMSEY(MeanFidelity):
    """√(mean of ``rmse_y``²) over all images seen, on all processes: PIRM's root after the mean."""

    higher_is_better = False

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The squared error of each image."""
        return rmse_y(sr, hr, self.crop).square()

    def compute(self) -> Tensor:
        """The root of the mean over the images."""
        return super().compute().sqrt()


@final
class RMSERGB(MeanFidelity):
    """√(mean of ``rmse_rgb``²) over all images seen, on all processes."""

    higher_is_better = False

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The squared error of each image."""
        return rmse_rgb(sr, hr, self.crop).square()

    def compute(self) -> Tensor:
        """The root of the mean over the images."""
        return super().compute().sqrt()
