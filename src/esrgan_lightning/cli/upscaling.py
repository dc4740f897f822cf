"""Files in, files out: which becomes which, one after the other, a broken one named, a record of each."""

import glob
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, final

import torch
from PIL import features
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from esrgan_lightning.cli.errors import complain
from esrgan_lightning.data.maps import read_maps
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.inference.memory import out_of_memory
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops import READABLE, SUFFIXES, list_images, to_uint8
from esrgan_lightning.ops.codecs import SRGB_CHUNKS
from esrgan_lightning.ops.encode import DEEP, FORMATS, LOSSY, OPAQUE, RGB_ONLY, check_format
from esrgan_lightning.ops.files import files_below, write_whole
from esrgan_lightning.ops.image import Photo, encode_image, read_photo


def result_suffix(name: str | None, output: Path | None, quality: int | None) -> str:
    """The suffix of the results: of ``--format``, of a single result's file, or ``.png``.

    Raises:
        InputError: An unknown format, one that contradicts the file's name, one that Pillow was built
            without, or a quality for a format that loses nothing.
    """
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
    inputs: Sequence[Path], output: Path, suffix: str, extension: str = ".png"
) -> list[tuple[Path, Path]]:
    """Each input file with the file it becomes; folders are searched, and their tree is kept.

    What lies in ``output`` is left out where that is inside a searched folder: results of an earlier run. A
    file that is named twice counts once. A pattern is expanded, sorted, to image files; their tree below its
    fixed part is kept.

    Raises:
        InputError: An input does not exist or holds no image, two inputs would become one file, a result
            would replace an input, ``output`` is no folder, or the suffix no part of a name.
    """
    try:
        return _targets(inputs, output, suffix, extension)
    except OSError as error:  # no permission, a name that is too long
        raise InputError(f"{error.filename or inputs[0]} cannot be looked at: {error.strerror}") from error


def _targets(inputs: Sequence[Path], output: Path, suffix: str, extension: str) -> list[tuple[Path, Path]]:
    single = _is_file_name(output)
    if output.is_symlink() and not output.exists():
        raise InputError(f"{output} is a link that leads nowhere: choose another folder with -o")
    if output.exists() and not output.is_dir() and not single:
        raise InputError(f"{output} is a file: give a folder for the results with -o")
    if suffix and (Path(suffix).name != suffix or "\\" in suffix or single):
        raise InputError(f"--suffix {suffix} is no part of a file's name in {output}")
    sources: dict[Path, Path] = {}  # target → source
    for given in inputs:
        base, files = _files(given, output)
        for source in files:
            folder = output / source.relative_to(base).parent
            target = output if single else folder / f"{source.stem}{suffix}{extension}"
            other = sources.setdefault(target, source)
            if _same(other) != _same(source):
                remedy = "give a folder with -o" if single else "upscale them apart"
                raise InputError(f"{other} and {source} would both become {target}: {remedy}")
    originals = {_same(source) for source in sources.values()}
    for target, source in sources.items():
        if _same(target) in originals:
            raise InputError(
                f"{source} would be written over {target}: choose another folder with -o, or a --suffix"
            )
    return [(source, target) for target, source in sources.items()]


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
        raise InputError(f"{given} holds no image outside {output}")
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


@final
@dataclass(frozen=True)
class MapFiles:
    """The file of each picture's maps, and the classes that they must have."""

    paths: Mapping[Path, Path]
    classes: Sequence[str]

    def read(self, source: Path, pixels: Tensor) -> Tensor:
        """The maps of a picture (C,h,w), (K,h,w) uint8.

        Raises:
            InputError: as :func:`~esrgan_lightning.data.maps.read_maps`.
        """
        height, width = pixels.shape[-2:]
        return torch.from_numpy(read_maps(self.paths[source], self.classes, height, width))


def map_files(
    generator: nn.Module,
    folder: Path | None,
    inputs: Sequence[Path],
    sources: Sequence[Path],
    *,
    piped: bool = False,
) -> MapFiles | None:
    """Finds the maps of all pictures before any work; None for a generator that takes none.

    Args:
        generator: which says by its classes what it takes.
        folder: ``--maps``: a file for each picture, in subfolders as the pictures are.
        inputs: as the user gave them.
        sources: the pictures found there.
        piped: whether the picture comes from stdin.

    Raises:
        InputError: maps are missing, or not wanted.
    """
    classes = conditions_of(generator)
    if folder is not None and not classes:
        raise InputError("the model takes no maps: leave out --maps")
    if not classes:
        return None
    if folder is None or piped:
        raise InputError(
            f"the model takes maps of {', '.join(classes)}: give --maps DIR, of `esrgan segment --lr`, "
            "for pictures in files"
        )
    paths = dict(targets(inputs, folder, "", ".safetensors"))
    for source in sources:
        if not paths[source].is_file():
            raise InputError(f"{paths[source]} is missing, the maps of {source}: see `esrgan segment --lr`")
    return MapFiles(paths, classes)


COMMAND = "esrgan upscale"
#: The most bytes that are taken from standard input.
MAX_STDIN = 2**30


@final
@dataclass(frozen=True)
class Job:
    """What is done with each picture besides enlarging it.

    Attributes:
        extension: Of the results, with its dot.
        quality: Of lossy formats, 1 to 100.
        overwrite: Whether a result that is there is made anew.
        manifest: File of JSON lines that records are added to.
        maps: Those of each picture, for a model that takes maps.
    """

    extension: str
    quality: int | None = None
    overwrite: bool = False
    manifest: Path | None = None
    maps: MapFiles | None = None

    def check(self, piped: bool) -> None:
        """Raises InputError, before any work, for what cannot come to an end."""
        if piped and self.manifest:
            raise InputError("--manifest is for files, not for stdin")
        if piped and sys.stdout.isatty():
            raise InputError("stdout is a terminal: send the image to a file with > FILE")
        if self.manifest is not None:
            try:
                self.manifest.open("a").close()
            except OSError as error:
                raise InputError(f"--manifest {self.manifest} cannot be written: {error.strerror}") from error


def upscale_stdin(upscaler: Upscaler, job: Job) -> int:
    """One image from standard input to standard output; the exit code."""
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise InputError(f"stdin holds more than {MAX_STDIN} bytes: give a file")
    try:
        photo = _fitted(_read(BytesIO(data), "stdin", job.extension), job.extension, upscaler)
        large = _encoded(upscaler.upscale(photo.pixels), photo, job)
    except InputError as error:
        complain(COMMAND, f"stdin: {error}")
        return 1
    sys.stdout.buffer.write(large)
    sys.stdout.buffer.flush()
    return 0


def upscale_files(
    upscaler: Upscaler,
    pairs: Sequence[tuple[Path, Path]],
    job: Job,
    model: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Enlarges each file; one that fails is named, and the rest go on.

    Args:
        upscaler: The network.
        pairs: Each file with what it becomes.
        job: How.
        model: The network's file, for the manifest.
        settings: What else the manifest says of each.

    Returns:
        The exit code: 1 if one has failed (a damaged file, too little memory, a result that cannot be
        written), 130 if the user has stopped it.
    """
    about = {"scale": upscaler.scale, "quality": job.quality, **(settings or {})}
    if job.manifest is not None and model is not None:
        about |= {"model": model.name, "model_sha256": _sha256(model)}
    failed = skipped = done = 0
    console = Console(stderr=True)
    shown = console.is_terminal and sys.stdout.isatty()  # rich sends either stream through its terminal
    try:
        for source, target in track(
            pairs, f"x{upscaler.scale:g}", console=console, transient=True, disable=not shown
        ):
            if target.is_file() and not job.overwrite:
                skipped += 1
                continue
            start, error = time.perf_counter(), None
            facts: dict[str, Any] = {}
            try:
                _one(upscaler, source, target, job, facts)
            except InputError as fault:
                error = str(fault) if str(source) in str(fault) else f"{source}: {fault}"
                complain(COMMAND, error)
                failed += 1
            else:
                print(target)
                done += 1
            if job.manifest is not None:
                record = {"input": str(source), "output": None if error else str(target), **facts}
                record |= {
                    "seconds": round(time.perf_counter() - start, 3),
                    "error": error,
                    "settings": about,
                }
                _append(job.manifest, record)
    except KeyboardInterrupt:
        complain(COMMAND, f"stopped after {done} of {len(pairs)} images; the same command goes on from here")
        return 130
    if skipped:
        complain(
            COMMAND, f"{skipped} of {len(pairs)} results were there already: --overwrite makes them anew"
        )
    if failed:
        complain(COMMAND, f"{failed} of {len(pairs)} images failed")
    return 1 if failed else 0


def _one(upscaler: Upscaler, source: Path, target: Path, job: Job, facts: dict[str, Any]) -> None:
    """One picture; what the manifest says of it goes into ``facts`` as soon as it is known."""
    try:
        photo = _fitted(_read(source, str(source), job.extension), job.extension, upscaler)
        facts["size"] = list(photo.pixels.shape[-2:])
        large = upscaler.upscale(photo.pixels, job.maps.read(source, photo.pixels) if job.maps else None)
        facts["result_size"] = list(large.shape[-2:])
        data = _encoded(large, photo, job)
        write_whole(target, data)
        if job.manifest is not None:
            facts |= {"sha256": _sha256(source), "result_sha256": _sha256(target)}
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise InputError("too large for the memory: use --tile exact, or cut it into parts") from error


def _read(source: Path | BinaryIO, name: str, extension: str) -> Photo:
    photo = read_photo(source)
    for note in (*photo.notes, *_losses(photo, extension)):
        complain(COMMAND, f"{name}: {note}")
    return photo


def _losses(photo: Photo, extension: str) -> Iterator[str]:
    """What is said of the meaning of colours, and has no place in the result's format."""
    kind = FORMATS[extension]
    if photo.profile and (kind == "BMP" or (kind in RGB_ONLY and photo.pixels.shape[0] < 3)):
        yield f"its colour profile has no place in {extension}: colours may look different; write .png"
    odd = [name.decode() for name, data in photo.color_chunks.items() if data != SRGB_CHUNKS.get(name)]
    if odd and kind != "PNG" and not photo.profile:
        yield f"its {', '.join(odd)} has no place in {extension}: colours may look different; write .png"


def _encoded(large: Tensor, photo: Photo, job: Job) -> bytes:
    return encode_image(
        large,
        job.extension,
        profile=photo.profile,
        quality=job.quality,
        dpi=photo.dpi,
        color_chunks=photo.color_chunks,
    )


def _fitted(photo: Photo, extension: str, upscaler: Upscaler) -> Photo:
    """What the format can hold of a picture.

    Sixteen bits become eight where it has no more, and alpha that is opaque throughout is left out where it
    has none: whoever chose the format chose that.

    Raises:
        InputError: It cannot hold the rest, or a result of that size.
    """
    pixels, profile, kind = photo.pixels, photo.profile, FORMATS[extension]
    if kind not in DEEP:
        pixels = to_uint8(pixels)
    if kind in OPAQUE and pixels.shape[0] in (2, 4) and bool((pixels[-1] == 255).all()):
        pixels = pixels[:-1]
    if pixels.shape[0] < 3 and kind in RGB_ONLY:
        profile = None
    height, width = upscaler.enlargement.size(*pixels.shape[-2:])
    check_format(extension, height, width, pixels.shape[0], deep=pixels.dtype is torch.uint16)
    return photo._replace(pixels=pixels, profile=profile)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(manifest: Path, record: Mapping[str, Any]) -> None:
    with manifest.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
