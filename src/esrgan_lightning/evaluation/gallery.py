"""The crops of an evaluation in which the models differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import rgb_to_y, to_uint8
from esrgan_lightning.ops.picture import pixels_as_squares, webp

#: Longest side of a view of the whole picture, in pixels.
WHOLE = 960


class Picture(NamedTuple):
    """The crop, lossless, and the whole picture, reduced, as bytes of WebP."""

    crop: bytes
    whole: bytes


class View(NamedTuple):
    """An image as each model made it."""

    image: str  # its name
    score: float  # how far the models differ within the crop, in levels of luma
    size: tuple[int, int]  # height and width of the HR image
    place: tuple[int, int, int]  # top, left and side of the crop, in HR pixels
    lr: Picture  # its pixels repeated
    models: Mapping[str, Picture]
    hr: Picture


@final
@dataclass
class Gallery:
    """Keeps the views of each set in which the models differ most.

    Args:
        crop: Side of a crop in HR pixels, at least 16.
        each: Views of each set.

    Raises:
        InputError: A crop or a number that is too small.
    """

    crop: int = 128
    each: int = 6
    views: dict[str, list[View]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.crop < 16 or self.each < 1:
            raise InputError(f"crops of {self.crop} pixels, {self.each} of each set: give 16 and 1 at least")

    def add(self, set_name: str, view: View) -> None:
        """Keeps it if it is among the first; of equals the one that came first."""
        views = sorted([*self.views.get(set_name, []), view], key=lambda view: -view.score)
        self.views[set_name] = views[: self.each]


def most_different_place(images: Sequence[Tensor], side: int) -> tuple[int, int, int, float]:
    """The square in which images differ most: with the largest mean of their deviation in luma.

    Args:
        images: (C,H,W) uint8.
        side: Of the square; of the images where that is smaller.

    Returns:
        Top, left and side in pixels, and the mean there in levels of luma.
    """
    side = min(side, *images[0].shape[-2:])
    luma = torch.stack([rgb_to_y(image[None], rounded=True)[0] for image in images]).float()  # (M,1,H,W)
    step = max(1, side // 8)
    scores = F.avg_pool2d(luma.std(0, correction=0)[None], side, step)[0, 0]
    best = int(scores.argmax())
    top, left = (index * step for index in divmod(best, scores.shape[1]))
    return top, left, side, float(scores.flatten()[best])


def most_different_crop(
    name: str, lr: Tensor, pictures: Mapping[str, Tensor], hr: Tensor, *, side: int
) -> View:
    """The crop of an image in which its pictures differ most, and the whole of each; one is compared with HR.

    Args:
        name: Of the image.
        lr: (C,h,w) uint8, C 1 or 3.
        pictures: (C,s·h,s·w), uint8 or floating in [0,1], by model.
        hr: (C,s·h,s·w) uint8.
        side: Of the crop; of the image where that is smaller.
    """
    eight_bit = {model: to_uint8(sr) for model, sr in pictures.items()}
    compared = [*eight_bit.values(), *([hr] if len(eight_bit) == 1 else [])]
    top, left, side, score = most_different_place(compared, side)

    def picture(image: Tensor) -> Picture:
        return Picture(webp(image[:, top : top + side, left : left + side]), webp(image, longest=WHOLE))

    return View(
        image=name,
        score=score,
        size=(hr.shape[-2], hr.shape[-1]),
        place=(top, left, side),
        lr=picture(pixels_as_squares(lr, hr.shape[-2] // lr.shape[-2])),
        models={model: picture(image) for model, image in eight_bit.items()},
        hr=picture(hr),
    )
