"""Files in, files out: in their order, a broken one named, a record of each.

One thread reads the next pictures and one writes the last, while the network works.
"""

import hashlib
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import starmap
from pathlib import Path
from typing import Any, final

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from esrgan_lightning.cli.errors import complain
from esrgan_lightning.cli.targets import targets
from esrgan_lightning.data.maps import read_maps
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.inference.memory import out_of_memory
from esrgan_lightning.inference.threads import sharing_cores
from esrgan_lightning.inference.upscaler import TOGETHER
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops import to_uint8
from esrgan_lightning.ops.codecs import SRGB_CHUNKS
from esrgan_lightning.ops.encode import DEEP, OPAQUE, RGB_ONLY, check_format
from esrgan_lightning.ops.files import FORMATS, write_whole, writing
from esrgan_lightning.ops.image import Photo, read_photo

COMMAND = "esrgan upscale"
#: The most bytes that are taken from standard input.
MAX_STDIN = 2**30
# Pixels of a result from which on it is written before the network goes on: memory holds one such.
_LARGE = 2**26
#: A picture's file and its pixels (C,h,w) → its maps (K,h,w), uint8.
MapReader = Callable[[Path, Tensor], Tensor]


def map_reader(
    generator: nn.Module,
    folder: Path | None,
    inputs: Sequence[Path],
    sources: Sequence[Path],
    *,
    piped: bool = False,
) -> MapReader | None:
    """Finds the maps of all pictures before any work; None for a generator that takes none.

    In ``folder`` (``--maps``) the maps lie as the pictures do below the ``inputs``.
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
    return lambda source, pixels: torch.from_numpy(read_maps(paths[source], classes, *pixels.shape[-2:]))


@final
@dataclass(frozen=True)
class Job:
    """What is done with each picture besides enlarging it."""

    extension: str  # of the results, with its dot
    quality: int | None = None  # of lossy formats, 1 to 100
    overwrite: bool = False  # make results anew that are there
    manifest: Path | None = None  # JSON lines that records are added to
    maps: MapReader | None = None  # for a model that takes maps

    def check(self, piped: bool) -> None:
        """Raises InputError, before any work, for what cannot come to an end."""
        if piped and self.manifest:
            raise InputError("--manifest is for files, not for stdin")
        if piped and sys.stdout.isatty():
            raise InputError("stdout is a terminal: send the image to a file with > FILE")
        if self.manifest is not None:
            with writing(self.manifest):
                self.manifest.open("a").close()


def upscale_stdin(upscaler: Upscaler, job: Job) -> int:
    """One image from standard input to standard output; the exit code."""
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise InputError(f"stdin holds more than {MAX_STDIN} bytes: give a file")
    try:
        photo = read_photo(BytesIO(data))
        for note in _notes(photo, job.extension):
            complain(COMMAND, f"stdin: {note}")
        photo = _fitted(photo, job.extension, upscaler)
        large = photo._replace(pixels=upscaler.upscale(photo.pixels)).encoded(job.extension, job.quality)
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

    The manifest has the name of the ``model`` and the ``settings``.

    Returns:
        The exit code: 1 if one has failed (a damaged file, too little memory, a result that cannot be
        written), 130 if the user has stopped it.
    """
    about = {"scale": upscaler.scale, "quality": job.quality, **(settings or {})}
    if job.manifest is not None and model is not None:
        about |= {"model": model.name, "model_sha256": _sha256(model)}
    todo = list(starmap(_Item, (pair for pair in pairs if job.overwrite or not pair[1].is_file())))
    failed = done = 0
    console = Console(stderr=True)
    shown = console.is_terminal and sys.stdout.isatty()  # rich sends either stream through its terminal
    with Progress(console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(f"x{upscaler.scale:g}", total=len(todo))

        def report(item: _Item) -> None:
            nonlocal failed, done
            for note in item.notes:
                complain(COMMAND, f"{item.source}: {note}")
            if item.error:
                complain(COMMAND, item.error)
                failed += 1
            else:
                print(item.target)
                done += 1
            if job.manifest is not None:
                output = None if item.error else str(item.target)
                record = {"input": str(item.source), "output": output, **item.facts}
                record |= {"seconds": round(item.seconds, 3), "error": item.error, "settings": about}
                _append(job.manifest, record)
            progress.advance(task)

        try:
            _upscale_all(upscaler, todo, job, report)
            stopped = False
        except KeyboardInterrupt:
            stopped = True
    if stopped:
        complain(COMMAND, f"stopped after {done} of {len(pairs)} images; the same command goes on from here")
        return 130
    if skipped := len(pairs) - len(todo):
        complain(
            COMMAND, f"{skipped} of {len(pairs)} results were there already: --overwrite makes them anew"
        )
    if failed:
        complain(COMMAND, f"{failed} of {len(pairs)} images failed")
    return 1 if failed else 0


@final
@dataclass
class _Item:
    """One file on its way; after an error no step follows."""

    source: Path
    target: Path
    photo: Photo | None = None
    maps: Tensor | None = None
    large: Tensor | None = None
    notes: Sequence[str] = ()
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # what the manifest says of it, once it is known
    seconds: float = 0.0  # of its own steps; pictures that go together share the network's

    @contextmanager
    def step(self) -> Iterator[None]:
        """Takes the time of a step, and what goes wrong in it as this picture's error."""
        start, error = time.perf_counter(), None
        try:
            yield
        except InputError as fault:
            error = str(fault)
        except OSError as fault:
            error = f"{self.target} cannot be written: {fault.strerror or fault}"
        except (RuntimeError, MemoryError) as fault:
            if not out_of_memory(fault):
                raise
            error = "too large for the memory: use --tile exact, or cut it into parts"
        if error is not None:
            self.error = error if str(self.source) in error else f"{self.source}: {error}"
        self.seconds += time.perf_counter() - start


def _upscale_all(
    upscaler: Upscaler, items: Sequence[_Item], job: Job, report: Callable[[_Item], None]
) -> None:
    """Reads a group ahead of the network, writes one behind it, and reports each item in order.

    What is being written when the user stops it, or an error does, is written and reported first.
    """
    groups = _groups(upscaler, items, job)
    behind: deque[Future[_Item]] = deque()

    def report_written() -> None:
        while behind:
            item = behind[0].result()
            behind.popleft()
            report(item)

    with sharing_cores(1) as reader, sharing_cores(1) as writer:
        try:
            ahead = reader.submit(next, groups, None)
            while group := ahead.result():
                ahead = reader.submit(next, groups, None)
                _enlarge(upscaler, group)
                report_written()
                large = group[-1].large
                behind.extend(writer.submit(_write, item, job) for item in group)
                if large is not None and large[0].numel() > _LARGE:
                    del large
                    report_written()
        finally:
            report_written()


def _groups(upscaler: Upscaler, items: Sequence[_Item], job: Job) -> Iterator[list[_Item]]:
    """The items with their pictures, in order; small neighbours together, on a GPU those of one kind."""
    group: list[_Item] = []
    total = 0
    for item in items:
        with item.step():
            photo = read_photo(item.source)
            item.notes = tuple(_notes(photo, job.extension))
            item.photo = photo = _fitted(photo, job.extension, upscaler)
            item.facts["size"] = list(photo.pixels.shape[-2:])
            item.maps = job.maps(item.source, photo.pixels) if job.maps else None
        pixels = math.prod(item.facts.get("size", [TOGETHER]))
        mixed = upscaler.device.type != "cpu" and group and _kind(group[0]) != _kind(item)
        if group and (mixed or total + pixels > TOGETHER):
            yield group
            group, total = [], 0
        group.append(item)
        total += pixels
        if job.maps or item.error or total + pixels > TOGETHER:
            yield group
            group, total = [], 0
    if group:
        yield group


def _kind(item: _Item) -> object:
    return item.photo and (item.photo.pixels.shape, item.photo.pixels.dtype)


def _enlarge(upscaler: Upscaler, group: Sequence[_Item]) -> None:
    start, found = time.perf_counter(), [item for item in group if item.photo and not item.error]
    photos = [item.photo.pixels for item in found if item.photo]
    if not found or found[0].maps is not None:  # maps come one at a time
        for item, photo in zip(found, photos, strict=True):
            with item.step():
                item.large = upscaler.upscale(photo, item.maps)
        return
    for item, large in zip(found, upscaler.upscale_each(photos), strict=True):
        with item.step():
            if isinstance(large, Exception):
                raise large
            item.large = large
    for item in found:
        item.seconds += (time.perf_counter() - start) / len(found)


def _write(item: _Item, job: Job) -> _Item:
    if item.photo and item.large is not None:
        with item.step():
            item.facts["result_size"] = list(item.large.shape[-2:])
            result = item.photo._replace(pixels=item.large)
            write_whole(item.target, result.encoded(job.extension, job.quality))
            if job.manifest is not None:
                item.facts |= {"sha256": _sha256(item.source), "result_sha256": _sha256(item.target)}
    item.photo = item.maps = item.large = None
    return item


def _notes(photo: Photo, extension: str) -> Iterator[str]:
    """What reading it left out, and what of its colours has no place in the result's format."""
    yield from photo.notes
    kind = FORMATS[extension]
    if photo.profile and (kind == "BMP" or (kind in RGB_ONLY and photo.pixels.shape[0] < 3)):
        yield f"its colour profile has no place in {extension}: colours may look different; write .png"
    odd = [name.decode() for name, data in photo.color_chunks.items() if data != SRGB_CHUNKS.get(name)]
    if odd and kind != "PNG" and not photo.profile:
        yield f"its {', '.join(odd)} has no place in {extension}: colours may look different; write .png"


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
