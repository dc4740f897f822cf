"""What lies before a visitor: a picture, the part of it that is looked at, its figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.sets import eight_bit
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.metrics import niqe, psnr_y, ssim_y
from esrgan_lightning.ops import image_size, imresize, modcrop, read_image
from esrgan_lightning.ops.picture import pixels_as_squares

_CONTEXT = 16  # LR pixels around a part that the network sees with it
_SMALLEST = 16  # side of a picture


@final
@dataclass(frozen=True)
class Picture:
    """What is enlarged."""

    lr: Tensor  # (C,h,w) uint8 or uint16, C from 1 to 4
    hr: Tensor | None  # (3,s·h,s·w) uint8, if the photo serves as original


@final
@dataclass(frozen=True)
class Part:
    """A square of a picture: its upper left corner and its side, in LR pixels."""

    top: int
    left: int
    side: int


def read_photo(file: Path, max_pixels: int) -> Tensor:
    """(C,H,W), as :func:`~esrgan_lightning.ops.read_image`; the size is looked at before it is decoded."""
    height, width = image_size(file)
    if height * width > max_pixels:
        raise InputError(
            f"{file.name} has {height * width / 1e6:.1f} megapixels, this page takes {max_pixels / 1e6:g}: "
            "cut out a part, or use the command esrgan upscale, which has no such limit"
        )
    return read_image(file)


def as_picture(photo: Tensor, *, is_hr: bool, scale: int) -> Picture:
    """A photo (C,H,W) as what is enlarged, or as its original: cut to a multiple of the scale, and shrunk."""
    least = _SMALLEST * (scale if is_hr else 1)
    if min(photo.shape[-2:]) < least:
        height, width = photo.shape[-2:]
        raise InputError(f"a photo of {width}×{height} pixels is too small: each side needs {least}")
    if not is_hr:
        return Picture(photo, None)
    hr = modcrop(rgb(photo), scale)
    return Picture(imresize(hr, 1 / scale), hr)


def part_at(picture: Picture, x: float, y: float, side: int) -> Part:
    """The square of ``side`` LR pixels at most around a point in shares of width and height."""
    height, width = picture.lr.shape[-2:]
    side = min(side, height, width)
    top = min(max(round(y * height - side / 2), 0), height - side)
    left = min(max(round(x * width - side / 2), 0), width - side)
    return Part(top, left, side)


def compare(picture: Picture, part: Part, pair: NetworkPair, alpha: float) -> tuple[Tensor, Tensor]:
    """Bicubic and network of a part: two of (3, s·side, s·side) uint8.

    The network sees some surroundings too, so that the part's border is nearly as in the whole picture.
    """
    height, width = picture.lr.shape[-2:]
    top, left = max(part.top - _CONTEXT, 0), max(part.left - _CONTEXT, 0)
    bottom, right = min(part.top + part.side + _CONTEXT, height), min(part.left + part.side + _CONTEXT, width)
    around = rgb(picture.lr)[:, top:bottom, left:right]
    y, x, side = ((each * pair.scale) for each in (part.top - top, part.left - left, part.side))
    bicubic, sr = imresize(around, pair.scale), pair(around, alpha)
    return bicubic[:, y : y + side, x : x + side], sr[:, y : y + side, x : x + side]


def part_of_hr(picture: Picture, part: Part, scale: int) -> Tensor | None:
    """(3, s·side, s·side): the original of a part, if there is one."""
    if picture.hr is None:
        return None
    top, left, side = part.top * scale, part.left * scale, part.side * scale
    return picture.hr[:, top : top + side, left : left + side]


def enlarge(picture: Picture, pair: NetworkPair, alpha: float, max_pixels: int) -> tuple[Tensor, Tensor]:
    """Bicubic, (3,H,W) uint8, and the network, (C,H,W) with the depth, gray and alpha of the picture."""
    height, width = picture.lr.shape[-2:]
    if height * width > max_pixels:
        raise InputError(
            f"{width}×{height} pixels are more than this page enlarges as a whole ({max_pixels / 1e6:g} "
            "megapixels): look at parts, or use the command esrgan upscale"
        )
    return imresize(rgb(picture.lr), pair.scale), pair(picture.lr, alpha)


def figures(images: dict[str, Tensor], hr: Tensor, scale: int) -> list[list[str]]:
    """Rows: name, PSNR-Y, SSIM-Y and NIQE, as the evaluation has them: a border of ``scale`` pixels aside.

    A dash stands where the picture is too small for NIQE (two blocks of 96×96).
    """
    height, width = (size - 2 * scale for size in hr.shape[-2:])
    measurable = min(height, width) >= 96 and max(height, width) >= 192
    rows = []
    for name, image in images.items():
        sr = rgb(image)[None]
        natural = f"{float(niqe(sr, scale)[0]):.2f}" if measurable else "–"
        psnr, ssim = (float(each(sr, hr[None], scale)[0]) for each in (psnr_y, ssim_y))
        rows.append([name, f"{psnr:.2f}", f"{ssim:.4f}", natural])
    return rows


def rgb(image: Tensor) -> Tensor:
    """(C,H,W), C from 1 to 4, of 8 or 16 bits → (3,H,W) uint8 without alpha."""
    return eight_bit(image).expand(3, -1, -1).contiguous()


def shown(image: Tensor, longest: int) -> Tensor:
    """(3,H,W) uint8 for the screen: shrunk to ``longest`` pixels, or small ones enlarged by whole pixels."""
    colors = rgb(image)
    side = max(colors.shape[-2:])
    if side > longest:
        return imresize(colors, longest / side)
    times = max(1, min(8, longest // side))
    return pixels_as_squares(colors, times)


def framed(small: Tensor, picture: Picture, part: Part) -> Tensor:
    """The map: a small version of a picture, of :func:`shown`, with the part framed in black and white."""
    small, times = small.clone(), small.shape[-1] / picture.lr.shape[-1]
    top, left, side = (round(each * times) for each in (part.top, part.left, part.side))
    for inset, level in ((0, 0), (1, 255), (2, 0)):
        a, b, size = top + inset, left + inset, side - 2 * inset - 1
        bottom, right = min(a + size, small.shape[-2] - 1), min(b + size, small.shape[-1] - 1)
        small[:, a : bottom + 1, [b, right]] = level
        small[:, [a, bottom], b : right + 1] = level
    return small
