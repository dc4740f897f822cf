"""From what the loader hands over to what a stage trains on: LR, layout, flips and turns, on any device."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor

from esrgan_lightning.data.degradations import Degradation
from esrgan_lightning.ops import rgb_to_gray, to_float


class RawBatch(TypedDict):
    """Crops as they are cut: ``hr`` uint8 (B,H,W,3) with the degradation's margin around it.

    ``lr`` (B,h,w,3) only where the LR is given; ``conditions`` (B,K,h,w) only where there are maps, cut at
    the LR's place; ``turns`` says how each sample is flipped and turned (see
    :class:`~esrgan_lightning.data.placement.Placements`). Lists stay on the CPU when a batch is moved.
    """

    hr: Tensor
    lr: NotRequired[Tensor]
    conditions: NotRequired[Tensor]
    turns: list[int]
    number: list[int]
    name: list[str]


class Batch(TypedDict):
    """LR/HR pairs, (B,C,h,w) and (B,C,s·h,s·w), with the photos' names and the samples' numbers.

    ``conditions``, where there are maps, are (B,K,h,w).
    """

    lr: Tensor
    hr: Tensor
    conditions: NotRequired[Tensor]
    name: list[str]
    number: list[int]


def degrade_and_augment(raw: RawBatch, degradation: Degradation, scale: int, channels: int = 3) -> Batch:
    """Makes gray if asked to, then the LR, takes the margin away, flips and turns; uint8 in, uint8 out.

    The LR is made before the turn: MATLAB rounds after the rows, then after the columns, and so the LR of a
    turned photo is not the turned LR.

    Args:
        raw: of the loader, on any device.
        degradation: makes the LR where none is given.
        scale: s.
        channels: C of the batch: 3, or 1 for gray.
    """
    hr = in_channels(raw["hr"].permute(0, 3, 1, 2), channels)
    if "lr" in raw:
        lr = in_channels(raw["lr"].permute(0, 3, 1, 2), channels)
    else:
        lr = degradation(hr, torch.tensor(raw["number"]), scale)
        hr, lr = _trim(hr, degradation.margin * scale), _trim(lr, degradation.margin)
    batch: Batch = {
        "lr": turned(lr, raw["turns"]),
        "hr": turned(hr, raw["turns"]),
        "name": raw["name"],
        "number": raw["number"],
    }
    if "conditions" in raw:
        batch["conditions"] = turned(raw["conditions"], raw["turns"])
    return batch


def in_channels(rgb: Tensor, channels: int) -> Tensor:
    """uint8 (…,3,H,W) → (…,C,H,W), C 3 or 1."""
    return rgb_to_gray(rgb) if channels == 1 else rgb


def normalised(batch: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """uint8 → floats in [0,1]."""
    images = {"lr", "hr", "conditions"} & set(batch)
    return batch | {key: to_float(batch[key], dtype) for key in images}


def turned(images: Tensor, turns: Sequence[int]) -> Tensor:
    """Each image (B,C,N,N) mirrored left to right where its turn is 4 or more, then turned turn mod 4 times.

    A quarter turn is counter-clockwise, as in ``torch.rot90``.
    """
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    for turn in sorted(set(turns)):
        mine = torch.tensor([i for i, each in enumerate(turns) if each == turn], device=images.device)
        some = images[mine]
        some = some.flip(-1) if turn >= 4 else some
        result[mine] = torch.rot90(some, turn % 4, (-2, -1))
    return result


def _trim(images: Tensor, margin: int) -> Tensor:
    return images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]
