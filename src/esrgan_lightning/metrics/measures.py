"""The figures of quality by name: how each is computed, which way is better, how it is printed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, nn
from torchmetrics import Metric

import esrgan_lightning.metrics.fidelity as fidelity
from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics.niqe import NaturalModel, load_model, niqe
from esrgan_lightning.metrics.perceptual import SMALLEST, MaModel, dists, lpips, ma, pi
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork

#: What an identical picture counts in a validation's mean of PSNR, in dB: an infinite one could never be
#: surpassed.
PSNR_CEILING = 100.0


@final
@dataclass(frozen=True)
class Measure:
    """A figure of quality."""

    figure: Callable[..., Tensor]  # (sr, hr, crop) → (B,), without the HR or with a network as said below
    higher_is_better: bool = True
    digits: int = 2  # behind the point, in tables
    squares: tuple[int, int] = (1, 1)  # side and number of those that must be left within the border
    # Makes the network (of NIQE the pristine model, of Ma and PI the forests) from a file or None.
    network: Callable[..., Any] | None = None
    with_hr: bool = True
    ceiling: float = math.inf  # what a figure counts at most in the mean of a validation
    root: bool = False  # of several images the root of the mean square counts, not the mean
    convention: str = ""  # a sentence under tables, besides CONVENTION

    def __call__(self, sr: Tensor, hr: Tensor, crop: int, network: Any = None) -> Tensor:
        """The figure of each image, (B,), by a network of :func:`load_networks` where it needs one."""
        images = (sr, hr) if self.with_hr else (sr,)
        return self.figure(*images, crop, *([] if self.network is None else [network]))


def _pristine(weights: str | Path | None) -> NaturalModel | None:
    return None if weights is None else load_model(weights)


_ROOT = "RMSE: in levels of 0..255, same preparation as PSNR, √(mean over images of the square)."

_PYIQA = "computed by pyiqa (licensed for noncommercial use only)."
_MA = f"Ma: on Y, same border, higher is better, {_PYIQA}"
_PI = f"PI: ((10 - Ma) + NIQE) / 2, each on Y, same border, lower is better; Ma {_PYIQA}"


def _lpips(backbone: str, name: str, smallest: int) -> Measure:
    network = partial(LPIPSNetwork, backbone)  # type: ignore[arg-type]
    convention = f"{name}, version 0.1, on 8-bit RGB, same border, lower is better."
    return Measure(lpips, False, 4, (smallest, 1), network, convention=convention)


METRICS: Mapping[str, Measure] = MappingProxyType(
    {
        "psnr_y": Measure(fidelity.psnr_y, ceiling=PSNR_CEILING),
        "ssim_y": Measure(fidelity.ssim_y, digits=4, squares=(11, 1)),
        "psnr_rgb": Measure(fidelity.psnr_rgb, ceiling=PSNR_CEILING),
        "ssim_rgb": Measure(fidelity.ssim_rgb, digits=4, squares=(11, 1)),
        "niqe": Measure(
            niqe,
            False,
            squares=(96, 2),
            network=_pristine,
            with_hr=False,
            convention="NIQE: on Y, same border, lower is better.",
        ),
        "rmse_y": Measure(fidelity.rmse_y, False, root=True, convention=_ROOT),
        "rmse_rgb": Measure(fidelity.rmse_rgb, False, root=True, convention=_ROOT),
        "lpips": _lpips("alex", "LPIPS: AlexNet", 31),
        "lpips_vgg": _lpips("vgg", "LPIPS-VGG: VGG16", 16),
        "lpips_squeeze": _lpips("squeeze", "LPIPS-Squeeze: SqueezeNet 1.1", 17),
        "dists": Measure(
            dists,
            False,
            4,
            network=DISTSNetwork,
            convention="DISTS: on 8-bit RGB, same border, images not shrunk, lower is better.",
        ),
        "ma": Measure(ma, True, 2, (SMALLEST, 1), MaModel, with_hr=False, convention=_MA),
        "pi": Measure(pi, False, 2, (96, 2), MaModel, with_hr=False, convention=_PI),
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
    """Raises InputError for an image (H,W) that is too small for a metric, each with its border in pixels."""
    for metric, crop in metrics.items():
        height, width = (max(0, length - 2 * crop) for length in size)
        side, count = METRICS[metric].squares
        if (height // side) * (width // side) < count:
            raise InputError(
                f"{name} leaves {height}×{width} pixels (H×W) within the border of {crop}, and {metric} "
                f"needs {count} of {side}×{side}: leave out the image or the metric"
            )


def convention(metrics: Sequence[str]) -> str:
    """What figures of these metrics mean: the note under a table."""
    said = dict.fromkeys(METRICS[name].convention for name in metrics if METRICS[name].convention)
    return " ".join([fidelity.CONVENTION, *said])


def load_networks(
    metrics: Sequence[str],
    weights: Mapping[str, str | Path | None] | None = None,
    *,
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """What each metric computes with besides the pictures; None for nothing.

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
    given = {name: file for name, file in (weights or {}).items() if file is not None}
    for name in given:
        if name not in METRICS or METRICS[name].network is None:
            known = ", ".join(name for name, measure in METRICS.items() if measure.network)
            raise InputError(f"metrics: {name} takes no weights: weights are for {known}")
    networks = {}
    for name in metrics:
        make = METRICS[name].network
        try:
            network = make(weights=given.get(name)) if make else None
        except InputError as error:
            raise InputError(f"metrics: {name}: {error}") from error
        if isinstance(network, nn.Module):
            network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        networks[name] = network
    return networks


@final
class ValidationMetric(Metric):
    """Mean of a figure over the images of a validation, on all processes.

    An image that has no figure, as a flat one has no NIQE, is left out; the mean of none is NaN.

    Args:
        name: Among :data:`METRICS`.
        crop: Pixels left out on each side; the literature takes the scale.
        weights: A file, as in :func:`load_networks`. The network follows the metric to its device, and stays
            out of its ``state_dict``.

    Raises:
        InputError: As :func:`load_networks`.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, name: str, crop: int, weights: str | Path | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.crop = name, crop
        # A tuple hides the network from nn.Module's registration, and so from checkpoints.
        self._hidden = (load_networks([name], {name: weights}, device="cpu")[name],)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Of the figure."""
        return METRICS[self.name].higher_is_better

    def update(self, sr: Tensor, hr: Tensor) -> None:
        """Adds the images of a batch, (B,C,H,W)."""
        measure = METRICS[self.name]
        found = measure(sr, hr, self.crop, self._hidden[0]).clamp(max=measure.ceiling)
        found = found[found.isfinite()]
        self.total += (found.square() if measure.root else found).sum()
        self.count += len(found)

    def compute(self) -> Tensor:
        """The mean over the images, or the root of the mean square."""
        mean = self.total / self.count
        return mean.sqrt() if METRICS[self.name].root else mean

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> nn.Module:
        if isinstance(network := self._hidden[0], nn.Module):
            network._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, *args, **kwargs)
