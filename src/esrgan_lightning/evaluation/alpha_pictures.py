"""Pictures of a sweep over α: strip, curves, animation."""

import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from esrgan_lightning.evaluation.alpha_sweep import Sweep
from esrgan_lightning.ops import imresize, to_float
from esrgan_lightning.ops.picture import comparison, text_tile

#: Images are looked at through a window of this many HR pixels a side.
WINDOW = 160


def strip(sweep: Sweep, *, window: int = WINDOW) -> Tensor:
    """Each image's window over α, LR before and HR behind; below it the same by image interpolation.

    The window is where the two ends differ most.

    Returns:
        uint8 (3,H,W).
    """
    rows = []
    for pictures, mixed, (lr, hr) in zip(sweep.pictures, sweep.mixed, sweep.pairs, strict=True):
        cut = _window(pictures[0], pictures[-1], window)
        scale = hr.shape[-1] // lr.shape[-1]
        nearest = lr.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
        for of, row in (("network", pictures), ("image", mixed)):
            tiles = [picture[cut] for picture in (nearest, imresize(lr, scale), *row, hr)]
            rows.append([text_tile(f"{of}\ninterpolation", *tiles[0].shape[-2:]), *tiles])
    return comparison(rows, ["", "LR", "bicubic", *(f"α {alpha:g}" for alpha in sweep.alphas), "HR"])


def _window(a: Tensor, b: Tensor, side: int) -> tuple[slice, slice, slice]:
    difference = (to_float(a) - to_float(b)).abs().mean(0, keepdim=True)
    height, width = (min(side, length) for length in difference.shape[-2:])
    means = torch.nn.functional.avg_pool2d(difference, (height, width), stride=8)[0]
    top, left = (8 * int(each) for each in divmod(int(means.argmax()), means.shape[-1]))
    return slice(None), slice(top, top + height), slice(left, left + width)


def animation(sweep: Sweep, kind: str, *, milliseconds: int = 150) -> bytes:
    """The first image over α and back, as an animated ``GIF`` or ``WEBP`` file that repeats."""
    pictures = sweep.pictures[0]
    frames = [
        Image.fromarray(picture.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
        for picture in (*pictures, *pictures[-2:0:-1])
    ]
    buffer = io.BytesIO()
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": frames[1:],
        "duration": milliseconds,
        "loop": 0,
    }
    frames[0].save(buffer, kind, **options)
    return buffer.getvalue()


def curves(sweep: Sweep, title: str) -> bytes:
    """A PNG of each metric over α, of the networks between and of the mixed pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(sweep.values)
    figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1)
        axes.plot(sweep.alphas, sweep.values[name], "o-", label="network interpolation")
        axes.plot(sweep.alphas, sweep.mixed_values[name], "s--", label="image interpolation")
        axes.set_xlabel("α (0: PSNR, 1: GAN)")
        axes.set_title(name)
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
