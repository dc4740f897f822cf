"""The figures of quality by name: how each is computed, which way is better, how it is printed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import (
    CONVENTION,
    NIQE,
    PSNRRGB,
    PSNRY,
    RMSERGB,
    RMSEY,
    SSIMRGB,
    SSIMY,
    NaturalModel,
    niqe,
    psnr_rgb,
    psnr_y,
    rmse_rgb,
    rmse_y,
    ssim_rgb,
    ssim_y,
)
from esrgan_lightning.metrics.niqe_model import load_model
from esrgan_lightning.metrics.perceptual import DISTS, LPIPS, dists, lpips
from esrgan_lightning.metrics.perceptual_index import PI, SMALLEST, Ma, MaModel, ma, pi
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork

#: (sr, hr, crop) → (B,)
Figure = Callable[[Tensor, Tensor, int], Tensor]


@final
@dataclass(frozen=True)
class Measure:
    """A figure of quality.

    Attributes:
        figure: (sr, hr, crop) → (B,); with a network, (sr, hr, crop, network) → (B,).
        metric: (crop) → the figure's mean over the images of a validation; with a network, (crop, weights) →
            it.
        higher_is_better: As the name says.
        digits: Behind the point, in tables.
        squares: Side and number of the squares of pixels that must be left within the border.
        network: Makes the network (of NIQE: the pristine model; of Ma and PI: the forests) that the figure
            needs, from a file or None; None for none.
        root: Of several images the root of the mean square counts, not the mean.
        convention: What is to be said under a table besides ``CONVENTION``.
    """

    figure: Callable[..., Tensor]
    metric: Callable[..., Metric]
    higher_is_better: bool = True
    digits: int = 2
    squares: tuple[int, int] = (1, 1)
    network: Callable[..., Any] | None = None
    root: bool = False
    convention: str = ""


def _of_sr(figure: Callable[[Tensor, int, Any], Tensor]) -> Callable[..., Tensor]:
    """A figure that needs no HR, called as those that do."""
    return lambda sr, _hr, crop, network: figure(sr, crop, network)


def _pristine(weights: str | Path | None) -> NaturalModel | None:
    return None if weights is None else load_model(weights)


_ROOT = "RMSE: in levels of 0..255, same preparation as PSNR, √(mean over images of the square)."

_PYIQA = "computed by pyiqa (licensed for noncommercial use only)."
_MA = f"Ma: on Y, same border, higher is better, {_PYIQA}"
_PI = f"PI: ((10 - Ma) + NIQE) / 2, each on Y, same border, lower is better; Ma {_PYIQA}"


def _lpips(backbone: str, name: str, smallest: int) -> Measure:
    network = partial(LPIPSNetwork, backbone)  # type: ignore[arg-type]
    convention = f"{name}, version 0.1, on 8-bit RGB, same border, lower is better."
    return Measure(
        lpips,
        lambda crop, weights: LPIPS(network(weights=weights), crop),
        False,
        4,
        (smallest, 1),
        network,
        convention=convention,
    )


METRICS: Mapping[str, Measure] = MappingProxyType(
    {
        "psnr_y": Measure(psnr_y, PSNRY),
        "ssim_y": Measure(ssim_y, SSIMY, digits=4, squares=(11, 1)),
        "psnr_rgb": Measure(psnr_rgb, PSNRRGB),
        "ssim_rgb": Measure(ssim_rgb, SSIMRGB, digits=4, squares=(11, 1)),
        "niqe": Measure(
            _of_sr(niqe),
            NIQE,
            False,
            squares=(96, 2),
            network=_pristine,
            convention="NIQE: on Y, same border, lower is better.",
        ),
        "rmse_y": Measure(rmse_y, RMSEY, False, root=True, convention=_ROOT),
        "rmse_rgb": Measure(rmse_rgb, RMSERGB, False, root=True, convention=_ROOT),
        "lpips": _lpips("alex", "LPIPS: AlexNet", 31),
        "lpips_vgg": _lpips("vgg", "LPIPS-VGG: VGG16", 16),
        "lpips_squeeze": _lpips("squeeze", "LPIPS-Squeeze: SqueezeNet 1.1", 17),
        "dists": Measure(
            dists,
            lambda crop, weights: DISTS(DISTSNetwork(weights=weights), crop),
            False,
            4,
            network=DISTSNetwork,
            convention="DISTS: on 8-bit RGB, same border, images not shrunk, lower is better.",
        ),
        "ma": Measure(_of_sr(ma), Ma, squares=(SMALLEST, 1), network=MaModel, convention=_MA),
        "pi": Measure(_of_sr(pi), PI, False, squares=(96, 2), network=MaModel, convention=_PI),
    }
)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises InputError where a name is not one of :data:`METRICS`, stands twice, or none is given."""
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise InputError(f"metrics: {', '.join(unknown) or 'none given'}; known are {', '.join(METRICS)}")
    if len(set(metrics)) < len(metrics):
        raise InputError(f"metrics: {', '.join(metrics)}; each may stand only once")


def check_size(name: object, size: tuple[int, int], metrics: Mapping[str, int]) -> None:
    """Refuses an image that is too small for a metric.

    Args:
        name: of the image, for the message.
        size: its height and width in pixels, as it is measured.
        metrics: their names, each with the pixels that it leaves out on each side.

    Raises:
        InputError: the image and the first metric that cannot measure it.
    """
    for metric, crop in metrics.items():
        height, width = (max(0, length - 2 * crop) for length in size)
        side, count = METRICS[metric].squares
        if (height // side) * (width // side) < count:
            raise InputError(
                f"{name} leaves {height}×{width} pixels (H×W) within the border of {crop}, and {metric} "
                f"needs {count} of {side}×{side}: leave out the image or the metric"
            )


def validation_metric(name: str, *, crop: int, weights: str | Path | None = None) -> Metric:
    """The mean of a figure over the images of a validation.

    Args:
        name: Among :data:`METRICS`.
        crop: Pixels left out on each side; the literature takes the scale.
        weights: A file, as in :func:`load_figures`.

    Raises:
        InputError: An unknown name, weights for a metric that takes none, or weights that cannot be had.
    """
    check_metrics([name])
    measure = METRICS[name]
    if measure.network is None and weights is not None:
        raise InputError(f"metrics: {name} takes no weights")
    try:
        return measure.metric(crop, weights) if measure.network else measure.metric(crop)
    except InputError as error:
        raise InputError(f"metrics: {name}: {error}") from error


def convention(metrics: Sequence[str]) -> str:
    """What figures of these metrics mean, to be printed under a table."""
    said = dict.fromkeys(METRICS[name].convention for name in metrics if METRICS[name].convention)
    return " ".join([CONVENTION, *said])


def load_figures(
    metrics: Sequence[str],
    weights: Mapping[str, str | Path | None] | None = None,
    *,
    device: str | torch.device | None = None,
) -> dict[str, Figure]:
    """The figures by name, their networks loaded.

    Args:
        metrics: Names among :data:`METRICS`.
        weights: Files by metric: ImageNet weights (by default the bundled AlexNet for ``lpips``, a download
            for the others), for ``niqe`` a model of ``esrgan metrics fit-niqe`` in place of the authors',
            and for ``ma`` and ``pi`` the model of Ma's score, without which there is none.
        device: Where networks compute; by default a GPU if there is one.

    Raises:
        InputError: An unknown metric, weights for a metric that takes none, or weights that cannot be had.
    """
    check_metrics(metrics)
    for name in weights or {}:
        if name not in METRICS or METRICS[name].network is None:
            known = ", ".join(name for name, measure in METRICS.items() if measure.network)
            raise InputError(f"weights.{name}: weights are for {known}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    figures: dict[str, Figure] = {}
    for name in metrics:
        measure = METRICS[name]
        if measure.network is None:
            figures[name] = measure.figure
            continue
        try:
            network = measure.network(weights=(weights or {}).get(name))
        except InputError as error:
            raise InputError(f"weights.{name}: {error}") from error
        if isinstance(network, nn.Module):
            network.to(device)
        figures[name] = partial(measure.figure, network=network)
    return figures
