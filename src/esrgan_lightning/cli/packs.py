"""``esrgan data pack`` and ``stats``: what is in a folder or a pack, and one made out of the other."""

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from esrgan_lightning.data import Pack, pack
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images


def pack_files(
    sources: Sequence[Path], output: Path, *, skip_bad: bool, threads: int | None, overwrite: bool
) -> int:
    """Makes a pack and says what is in it.

    Returns:
        How many images were left out.

    Raises:
        InputError: as :func:`esrgan_lightning.data.pack`, or ``output`` cannot be written.
    """
    try:
        made = pack(
            sources, output, skip_bad=skip_bad, threads=threads, overwrite=overwrite, switch="--skip-bad"
        )
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}; what is done is kept") from error
    print(f"{output}: {len(made)} photos, {output.stat().st_size / 1e6:.1f} MB")
    return len(made.left_out)


def verify_pack(path: Path) -> list[str]:
    """Says whether a pack is whole; returns a line for each photo whose bytes differ from its hash."""
    found = Pack(path)
    console = Console(stderr=True)
    checked = track(
        found.damaged(),
        description=path.name,
        total=len(found),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    faults = [f"{path}: {name} is damaged; make the pack again" for name, damaged in checked if damaged]
    print(f"{path}: {'broken' if faults else 'whole'}, {len(found)} photos")
    return faults


def print_stats(path: Path) -> None:
    """A table of the sizes of the photos of a folder or a pack; of a pack also its mean colour.

    Raises:
        InputError: ``path`` is neither, or an image cannot be read.
    """
    if path.is_file():
        found = Pack(path)
        sizes = [(height, width) for height, width in found.sizes.tolist()]
        more = {**_repeated(found), **_colour(found)}
    else:
        sizes, more = [image_size(file) for file in list_images(path)], {}
    pixels = [height * width for height, width in sizes]
    sides = [min(size) for size in sizes]
    table = Table("", str(path), show_header=True)
    table.add_row("photos", str(len(sizes)))
    table.add_row("megapixels", f"{sum(pixels) / 1e6:.1f}")
    table.add_row("as a pack", f"{3 * sum(pixels) / 1e6:.1f} MB")
    for label, choose in (("smallest", min), ("median", statistics.median_low), ("largest", max)):
        height, width = sizes[pixels.index(choose(pixels))]
        table.add_row(label, f"{height}×{width} (H×W)")
    for patch in (128, 192, 256):
        table.add_row(f"smaller than patch {patch}", str(sum(side < patch for side in sides)))
    for label, value in more.items():
        table.add_row(label, value)
    Console().print(table)


def _repeated(found: Pack) -> dict[str, str]:
    counts = Counter(found.sha256.values())
    twice = sum(count - 1 for count in counts.values())
    return {"copies of another photo": str(twice)} if counts else {}


def _colour(found: Pack, step: int = 8) -> dict[str, str]:
    """Mean and standard deviation of each channel, over every eighth pixel of every eighth row."""
    total, squares, count = np.zeros(3), np.zeros(3), 0
    for index in range(len(found)):
        some = found.photo(index)[::step, ::step].reshape(-1, 3).astype(np.float64)
        total, squares, count = total + some.sum(0), squares + (some**2).sum(0), count + len(some)
    mean = total / count
    deviation = np.sqrt(squares / count - mean**2)
    return {
        "mean RGB (0..255)": " ".join(f"{value:.1f}" for value in mean),
        "standard deviation": " ".join(f"{value:.1f}" for value in deviation),
    }
