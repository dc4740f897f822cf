"""Files in, files out."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.ops import list_images, read_image, write_image


def targets(inputs: Sequence[Path], output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Each input file with the file it becomes; folders are searched, and their tree is kept.

    Raises:
        InputError: an input does not exist, or two inputs would become one file.
    """
    pairs: dict[Path, Path] = {}
    for given in inputs:
        if not given.exists():
            raise InputError(f"{given} does not exist")
        base = given if given.is_dir() else given.parent
        for source in list_images(given) if given.is_dir() else [given]:
            target = output / source.relative_to(base).parent / f"{source.stem}{suffix}.png"
            if target in pairs:
                raise InputError(
                    f"{pairs[target]} and {source} would both become {target}: upscale them apart"
                )
            if target.resolve() == source.resolve():
                raise InputError(
                    f"{source} would overwrite itself: choose another folder with -o, or a --suffix"
                )
            pairs[target] = source
    return [(source, target) for target, source in pairs.items()]


def upscale_files(
    inputs: Sequence[Path], model: Path, output: Path, *, tile: int | None, suffix: str, device: str | None
) -> int:
    """Enlarges each file; one that cannot be read is named and the rest go on. Returns how many failed."""
    pairs = targets(inputs, output, suffix)
    upscaler = Upscaler(model, tile=tile, device=device)
    failed = 0
    for source, target in track(pairs, description=f"x{upscaler.scale}", transient=True):
        try:
            image = read_image(source)
        except InputError as error:
            print(f"esrgan upscale: {error}", file=sys.stderr)
            failed += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, upscaler.upscale(image))
        print(target)
    return failed
