"""Files in, files out."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from esrgan_lightning.cli.errors import complain
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.ops import list_images, read_image, write_image


def targets(inputs: Sequence[Path], output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Each input file with the file it becomes; folders are searched, and their tree is kept.

    What lies in ``output`` is left out where that is inside a searched folder: results of an earlier run. A
    file that is named twice counts once.

    Raises:
        InputError: An input does not exist or is a folder without images, two inputs would become one file,
            a result would replace an input, ``output`` is no folder, or the suffix no part of a name.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: give a folder for the results with -o")
    if suffix and (Path(suffix).name != suffix or "\\" in suffix):
        raise InputError(f"--suffix {suffix} is no part of a file's name")
    sources: dict[Path, Path] = {}  # target → source
    for given in inputs:
        if not given.exists():
            raise InputError(f"{given} does not exist: give an image or a folder of images")
        base = given if given.is_dir() else given.parent
        for source in _files(given, output):
            target = output / source.relative_to(base).parent / f"{source.stem}{suffix}.png"
            other = sources.setdefault(target, source)
            if other.resolve() != source.resolve():
                raise InputError(f"{other} and {source} would both become {target}: upscale them apart")
    originals = {source.resolve() for source in sources.values()}
    for target, source in sources.items():
        if target.resolve() in originals:
            raise InputError(
                f"{source} would be written over {target}: choose another folder with -o, or a --suffix"
            )
    return [(source, target) for target, source in sources.items()]


def _files(given: Path, output: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    earlier = output.resolve() if given.resolve() in output.resolve().parents else None
    found = list_images(given)
    files = [path for path in found if earlier is None or earlier not in path.resolve().parents]
    if not files:
        raise InputError(f"{given} holds no image outside {output}")
    return files


def upscale_files(
    inputs: Sequence[Path],
    model: Path,
    output: Path,
    *,
    tile: int | None = None,
    overlap: int = 32,
    suffix: str = "",
    device: str | None = None,
    scale: int | None = None,
) -> int:
    """Enlarges each file; one that fails is named, and the rest go on.

    Returns:
        How many failed: damaged files, images that are too large for the memory, results that cannot be
        written.

    Raises:
        InputError: before any work: as :func:`targets`, or as :class:`~esrgan_lightning.inference.Upscaler`.
    """
    pairs = targets(inputs, output, suffix)
    upscaler = Upscaler(model, device=device, tile=tile, overlap=overlap, model_scale=scale)
    failed = 0
    # Both: while the bar is shown, rich sends either stream through the terminal.
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    for source, target in track(
        pairs, description=f"x{upscaler.scale:g}", transient=True, disable=not terminal
    ):
        try:
            _upscale_file(upscaler, source, target)
        except InputError as error:
            message = str(error) if str(source) in str(error) else f"{source}: {error}"
            complain("esrgan upscale", message)
            failed += 1
        else:
            print(target)
    if failed:
        complain("esrgan upscale", f"{failed} of {len(pairs)} images failed")
    return failed


def _upscale_file(upscaler: Upscaler, source: Path, target: Path) -> None:
    large = upscaler.upscale(read_image(source))
    try:
        write_image(target, large)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error
