"""A tiny set of materials: textures that differ in what they are made of, not in their colours."""

from pathlib import Path

import torch
from torch import Tensor

from esrgan_lightning.ops import write_image

CLASSES = ("checks", "dots", "noise", "stripes")


def texture(kind: str, seed: int, side: int = 64) -> Tensor:
    """(3,S,S) uint8: one of CLASSES, in two random colours, with its period and phase drawn anew."""
    random = torch.Generator().manual_seed(seed)
    period = int(torch.randint(6, 10, (), generator=random))
    rows, columns = (
        (torch.arange(side) + int(torch.randint(period, (), generator=random))) % period for _ in range(2)
    )
    if kind == "stripes":
        on = (columns < period // 2).expand(side, side)
    elif kind == "checks":
        on = (rows < period // 2)[:, None] ^ (columns < period // 2)[None]
    elif kind == "dots":
        on = (rows < 2)[:, None] & (columns < 2)[None]
    else:
        on = torch.rand(side, side, generator=random) < 0.5
    colors = torch.randint(256, (2, 3, 1, 1), generator=random)
    return torch.where(on, *colors).to(torch.uint8)


def write_textures(folder: Path, count: int, *, first: int = 0, suffix: str = ".jpg") -> Path:
    """``folder/CLASS/CLASS_000000.jpg``, so many of each."""
    for label, name in enumerate(CLASSES):
        for number in range(first, first + count):
            path = folder / name / f"{name}_{number:06}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, texture(name, 1000 * label + number))
    return folder


def write_minc(folder: Path, count: int = 6) -> Path:
    """MINC-2500's layout, of which one image of each class is for validation and one for test."""
    write_textures(folder / "images", count)
    (folder / "labels").mkdir()
    for split in range(1, 6):
        for part, chosen in (("validate", {split % count}), ("test", {(split + 1) % count})):
            _list(folder / f"labels/{part}{split}.txt", chosen)
        rest = set(range(count)) - {split % count, (split + 1) % count}
        _list(folder / f"labels/train{split}.txt", rest)
    return folder


def _list(path: Path, numbers: set[int]) -> None:
    lines = [f"images/{name}/{name}_{number:06}.jpg" for name in CLASSES for number in sorted(numbers)]
    path.write_text("".join(f"{line}\n" for line in lines))
