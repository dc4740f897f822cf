"""Files in, files out: one after the other, a broken one named, a record of each."""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, final

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from esrgan_lightning.cli.errors import complain
from esrgan_lightning.cli.targets import targets
from esrgan_lightning.data.maps import read_maps
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.inference.memory import out_of_memory
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops import to_uint8
from esrgan_lightning.ops.codecs import SRGB_CHUNKS
from esrgan_lightning.ops.encode import DEEP, OPAQUE, RGB_ONLY, check_format
from esrgan_lightning.ops.files import FORMATS, write_whole
from esrgan_lightning.ops.image import Photo, encode_image, read_photo


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
    with manifest.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
