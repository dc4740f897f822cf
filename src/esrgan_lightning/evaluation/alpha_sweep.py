"""Network interpolation seen as a whole: pictures and figures over α."""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import evaluate
from esrgan_lightning.evaluation.gallery import most_different_place
from esrgan_lightning.evaluation.sets import TestPair
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.ops import from_float, imresize, to_float
from esrgan_lightning.ops.picture import comparison, pillow, pixels_as_squares, plain, png_of, text_tile
from esrgan_lightning.weights.interpolation import check_alpha

#: Images are looked at through a window of this many HR pixels a side.
WINDOW = 160


@final
class Sweep(NamedTuple):
    """What :func:`alpha_sweep` found."""

    alphas: list[float]
    pictures: list[list[Tensor]]  # of each image, one for each α: (C,H,W) uint8
    mixed: list[list[Tensor]]  # the same by image interpolation
    pairs: list[tuple[Tensor, Tensor]]  # LR and HR, uint8
    values: dict[str, list[float]]  # of the networks, metric → the mean over images for each α
    mixed_values: dict[str, list[float]]


def alpha_sweep(
    states: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    spec: Mapping[str, Any],
    images: Sequence[TestPair],
    *,
    alphas: Sequence[float],
    metrics: Sequence[str] = ("psnr_y", "ssim_y"),
    device: str | None = None,
    tile: int | None = None,
    **evaluation: Any,
) -> Sweep:
    """Enlarges images by the networks between two, and measures them.

    Args:
        states: The state dicts at α = 0 and 1.
        spec: Of the network that both are of.
        images: HR images, with or without their LR.
        alphas: In [0,1], ascending.
        metrics: Names among ``METRICS``.
        device: As in :class:`~esrgan_lightning.inference.Upscaler`.
        tile: Likewise.
        **evaluation: What :func:`~esrgan_lightning.evaluation.evaluate` takes besides.

    Raises:
        InputError: No α, one outside [0,1] or twice, or as in ``evaluate``.
    """
    if not alphas or list(alphas) != sorted(set(alphas)):
        raise InputError(
            f"alphas {', '.join(f'{a:g}' for a in alphas) or 'none'}: give some, each once, ascending"
        )
    for alpha in alphas:
        check_alpha(alpha)
    pair = NetworkPair(states, spec, device=device, tile=tile)
    pictures: dict[str, list[Tensor]] = defaultdict(list)

    @lru_cache(maxsize=1)  # evaluate gives all models an image before the next
    def ends(lr: Tensor) -> tuple[Tensor, Tensor]:
        return pair(lr, 0.0), pair(lr, 1.0)

    def network(lr: Tensor, alpha: float) -> Tensor:
        pictures[f"network {alpha:g}"].append(pair(lr, alpha))
        return pictures[f"network {alpha:g}"][-1]

    def mixture(lr: Tensor, alpha: float) -> Tensor:
        psnr, gan = map(to_float, ends(lr))
        pictures[f"image {alpha:g}"].append(from_float((1 - alpha) * psnr + alpha * gan, lr.dtype))
        return pictures[f"image {alpha:g}"][-1]

    kinds = {"network": network, "image": mixture}
    models = {
        f"{kind} {alpha:g}": partial(make, alpha=alpha) for kind, make in kinds.items() for alpha in alphas
    }
    found = evaluate(models, {"images": images}, scale=pair.scale, metrics=metrics, **evaluation)["images"]

    def of(kind: str) -> tuple[list[list[Tensor]], dict[str, list[float]]]:
        names = [f"{kind} {alpha:g}" for alpha in alphas]
        rows = [[pictures[name][index] for name in names] for index in range(len(images))]
        return rows, {metric: [found[name][metric] for name in names] for metric in metrics}

    by_network, values = of("network")
    by_image, mixed_values = of("image")
    pairs = [each.load(pair.scale) for each in images]
    return Sweep(list(alphas), by_network, by_image, pairs, values, mixed_values)


def strip(sweep: Sweep, *, window: int = WINDOW) -> Tensor:
    """(3,H,W) uint8: of each image the window where the ends differ most, over α, by either interpolation."""
    rows = []
    for pictures, mixed, (lr, hr) in zip(sweep.pictures, sweep.mixed, sweep.pairs, strict=True):
        top, left, side, _ = most_different_place([pictures[0], pictures[-1]], window)
        scale = hr.shape[-1] // lr.shape[-1]
        for of, row in (("network", pictures), ("image", mixed)):
            whole = (pixels_as_squares(lr, scale), imresize(lr, scale), *row, hr)
            tiles = [picture[:, top : top + side, left : left + side] for picture in whole]
            rows.append([text_tile(f"{of}\ninterpolation", side, side), *tiles])
    return comparison(rows, ["", "LR", "bicubic", *(f"α {alpha:g}" for alpha in sweep.alphas), "HR"])


def animation(sweep: Sweep, kind: str, *, milliseconds: int = 150) -> bytes:
    """The first image over α and back, as an animated ``GIF`` or ``WEBP`` file that repeats."""
    pictures = sweep.pictures[0]
    first, *others = [pillow(picture) for picture in (*pictures, *pictures[-2:0:-1])]
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, duration=milliseconds, loop=0)
    return buffer.getvalue()


def curves(sweep: Sweep, title: str) -> bytes:
    """A PNG of each metric over α, of the networks between and of the mixed pictures."""
    from matplotlib.figure import Figure

    names = list(sweep.values)
    figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1, xlabel="α (0: PSNR, 1: GAN)", title=name)
        axes.plot(sweep.alphas, sweep.values[name], "o-", label="network interpolation")
        axes.plot(sweep.alphas, sweep.mixed_values[name], "s--", label="image interpolation")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(plain(title))
    return png_of(figure)
