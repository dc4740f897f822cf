"""What is compared: interpolation, and generators from files, by names that tell them apart."""

from collections.abc import Sequence
from pathlib import Path

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import Model
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.ops import imresize

#: The name that stands for MATLAB's bicubic interpolation instead of a file.
BICUBIC = "bicubic"


def load_models(
    names: Sequence[str],
    scale: int,
    *,
    device: str | None = None,
    tile: int | None = None,
    overlap: int = 32,
) -> dict[str, Model]:
    """``bicubic`` or files of weights → functions from LR to SR, uint8 (C,h,w) both.

    Args:
        names: ``bicubic``, or files that ``load_generator`` knows, also foreign ones.
        scale: That all of them must have.
        device: As in :class:`~esrgan_lightning.inference.Upscaler`.
        tile: Likewise.
        overlap: Likewise.

    Returns:
        By the files' stems; where two share one, by as many of the folders above them as tell them apart.

    Raises:
        InputError: A file that is missing, no generator, given twice, or of another scale. That all files are
            there is checked before the first is read.
    """
    for name in names:
        if name != BICUBIC and not Path(name).is_file():
            known = f"give {BICUBIC} or a file of weights"
            raise InputError(f"models: {name} is {'a folder' if Path(name).is_dir() else 'missing'}; {known}")
    models: dict[str, Model] = {}
    for name, unique in zip(names, unique_names(names), strict=True):
        if name == BICUBIC:
            models[unique] = lambda lr: imresize(lr, scale)
            continue
        upscaler = Upscaler(name, device=device, tile=tile, overlap=overlap, scale=scale)
        models[unique] = upscaler.upscale
    return models


def unique_names(names: Sequence[str]) -> list[str]:
    """A short name for each: its stem, with folders before it where that is shared, or else its suffix.

    Raises:
        InputError: One is given twice.

    Example:
        >>> unique_names(["bicubic", "runs/psnr/generator.safetensors", "runs/gan/generator.safetensors"])
        ['bicubic', 'psnr/generator', 'gan/generator']
    """
    paths = [Path(name).absolute() for name in names]
    if len(set(paths)) < len(paths):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"models: {twice} is given twice")
    choices = []
    for name, path in zip(names, paths, strict=True):
        if name == BICUBIC:
            choices.append([name])
            continue
        parts = path.with_suffix("").parts
        choices.append(["/".join(parts[-n:]) for n in range(1, len(parts))] + [str(path)])
    lengths = [0] * len(names)
    while True:
        chosen = [options[length] for options, length in zip(choices, lengths, strict=True)]
        shared = [index for index, name in enumerate(chosen) if chosen.count(name) > 1]
        growing = [index for index in shared if lengths[index] + 1 < len(choices[index])]
        if not growing:
            return chosen
        for index in growing:
            lengths[index] += 1
