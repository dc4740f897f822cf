"""Which file becomes which, told before torch is loaded: what is wrong is told at once."""

import glob
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from PIL import Image, features

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import FORMATS, LOSSY, READABLE, SUFFIXES, files_below, list_images


def result_suffix(name: str | None, output: Path | None, quality: int | None) -> str:
    """The suffix of the results: of ``--format``, of a single result's file, or ``.png``."""
    own = output.suffix.lower() if output is not None and _is_file_name(output) else None
    suffix = f".{name.lower()}" if name else own or ".png"
    if suffix not in FORMATS:
        known = ", ".join(each.removeprefix(".") for each in SUFFIXES)
        raise InputError(f"--format {name} must be one of {known}")
    if own and FORMATS[own] != FORMATS[suffix]:
        raise InputError(f"--format {name} and {output} contradict each other: leave one out")
    if FORMATS[suffix] == "AVIF" and not features.check("avif"):
        raise InputError("this Pillow was built without AVIF: choose another --format")
    if quality is not None and FORMATS[suffix] not in LOSSY:
        raise InputError(f"--quality is for jpg, webp and avif: {suffix} loses nothing")
    return own or suffix


def targets(
    inputs: Sequence[Path],
    output: Path,
    suffix: str,
    extension: str = ".png",
    *,
    keep_extension: bool = False,
) -> list[tuple[Path, Path]]:
    """Each input file with the file it becomes; folders are searched, and their tree is kept.

    What lies in ``output`` is left out where that is inside a searched folder: results of an earlier run. A
    file that is named twice counts once. A pattern is expanded, sorted, to image files; their tree below its
    fixed part is kept. With ``keep_extension`` a.jpg becomes a.jpg.png, beside the a.png.png of a.png.

    Raises:
        InputError: An input does not exist or holds no image, inputs would become one file (all are named), a
            result would replace an input, ``output`` is no folder, or the suffix no part of a name.
    """
    try:
        return _targets(inputs, output, suffix, extension, keep_extension)
    except OSError as error:  # no permission, a name that is too long
        raise InputError(f"{error.filename or inputs[0]} cannot be looked at: {error.strerror}") from error


def _targets(
    inputs: Sequence[Path], output: Path, suffix: str, extension: str, keep: bool
) -> list[tuple[Path, Path]]:
    single = _is_file_name(output)
    if output.is_symlink() and not output.exists():
        raise InputError(f"{output} is a link that leads nowhere: choose another folder with -o")
    kind = output.suffix.lower()
    picture = kind in _NEVER_WRITTEN or kind in Image.registered_extensions()
    if picture and not single and not output.is_dir():
        raise InputError(f"-o {output}: {kind} is not written: give {', '.join(SUFFIXES)}, or a folder")
    if output.exists() and not output.is_dir() and not single:
        raise InputError(f"{output} is a file: give a folder for the results with -o")
    if suffix and (Path(suffix).name != suffix or "\\" in suffix or single):
        raise InputError(f"--suffix {suffix} is no part of a file's name in {output}")
    sources: dict[Path, dict[str, Path]] = {}  # target → sources, one for each file
    for given in inputs:
        base, files = _files(given, output)
        for source in files:
            folder = output / source.relative_to(base).parent
            stem = source.name if keep else source.stem
            target = output if single else folder / f"{stem}{suffix}{extension}"
            sources.setdefault(target, {}).setdefault(_same(source), source)
    if clashes := {target: list(each.values()) for target, each in sources.items() if len(each) > 1}:
        told = [f"{' and '.join(map(str, each))} would become {target}" for target, each in clashes.items()]
        remedy = "give a folder with -o" if single else "upscale them apart"
        if not single and not keep and extension in FORMATS:
            remedy += (
                f", or give --keep-extension for {next(iter(clashes.values()))[0].name}{extension} and so on"
            )
        raise InputError(f"{'; '.join(told)}: {remedy}")
    pairs = [(source, target) for target, each in sources.items() for source in each.values()]
    originals = {_same(source) for source, _ in pairs}
    for source, target in pairs:
        if _same(target) in originals:
            raise InputError(
                f"{source} would be written over {target}: choose another folder with -o, or a --suffix"
            )
    return pairs


# Names of pictures that Pillow does not know.
_NEVER_WRITTEN = (".heic", ".heif", ".jxl", ".exr", ".hdr", ".psd", ".svg", ".raw", ".dng")


def _is_file_name(output: Path) -> bool:
    return output.suffix.lower() in SUFFIXES and not output.is_dir()


def _same(path: Path) -> str:
    """Equal for two names of one file; unlike ``resolve`` it has an answer for a loop of links."""
    return os.path.realpath(path)


def _files(given: Path, output: Path) -> tuple[Path, list[Path]]:
    """The folder that the tree of results starts at, and the files."""
    if given.is_dir():
        base, found = given, list_images(given)
    elif os.path.lexists(given):  # also a broken link: it fails by itself, and the others go on
        return given.parent, [given]
    elif glob.has_magic(str(given)):
        fixed = next(n for n, part in enumerate(given.parts) if glob.has_magic(part))
        base, pattern = Path(*given.parts[:fixed]), str(Path(*given.parts[fixed:]))
        try:
            matches = sorted(_matching(base, pattern))
        except ValueError as error:
            raise InputError(f"{given} is no pattern: {error}") from error
        found = [path for path in matches if path.suffix.lower() in READABLE and not path.is_dir()]
    else:
        raise InputError(f"{given} does not exist: give an image or a folder of images")
    results, start = Path(_same(output)), Path(_same(base))
    apart = start == results or results in start.parents  # then all of them are wanted
    files = [path for path in found if apart or results not in Path(_same(path)).parents]
    if not files:
        outside = f" outside {output}" if found else ""
        raise InputError(f"{given} {'holds' if given.is_dir() else 'matches'} no image{outside}")
    return base, files


def _matching(base: Path, pattern: str) -> Iterable[Path]:
    """As ``Path.glob``, which does not follow links to folders for ``**``."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return base.glob(pattern)
    return [path for path in files_below(base) if _fits(path.relative_to(base).parts, parts)]


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_fits(path[n:], pattern[1:]) for n in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])
