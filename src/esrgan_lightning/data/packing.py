"""Making packs: photos of any format, decoded once, in parallel, and resumable after any interruption."""

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from esrgan_lightning.data.pack_writer import Item, PackWriter
from esrgan_lightning.data.packfile import Pack, Pixels
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images, read_rgb

_SPARE_BYTES = 64 << 20  # to be left free on the disk


def items_of(sources: Sequence[str | Path]) -> list[Item]:
    """The photos of files and folders, in order; names are the paths below the folder.

    With several sources the folder's own name is put in front.

    Raises:
        InputError: a source is missing or holds no image, or two photos would have one name.
    """
    items: dict[str, Item] = {}
    for source in map(Path, sources):
        files = [source] if source.is_file() else list_images(source)
        base = source.parent if source.is_file() else source
        for path in files:
            name = path.relative_to(base).as_posix()
            if len(sources) > 1 and not source.is_file():
                name = f"{source.resolve().name}/{name}"
            if name in items:
                raise InputError(
                    f"{items[name].path} and {path} would both be {name} in the pack: rename one"
                )
            status = path.stat()
            items[name] = Item(path, name, status.st_size, status.st_mtime_ns)
    return list(items.values())


def pack(
    sources: Sequence[str | Path] | Sequence[Item],
    output: str | Path,
    *,
    skip_bad: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> Pack:
    """Decodes photos into one file (:class:`~esrgan_lightning.data.packfile.Pack`).

    Photos are decoded by several threads and written in order as they come, a few at a time in memory. What
    is done is kept in ``OUTPUT.partial`` and its journal: an interrupted packing continues there after the
    hashes of what it holds have been checked, and the finished file has the same bytes as one made in one go.

    Args:
        sources: image files and folders of them, or the items themselves.
        output: the pack, usually ``NAME.safetensors``.
        skip_bad: leave out damaged images, and list them in the pack, in place of stopping at the first.
        threads: that decode; by default as many as there are cores.
        overwrite: replace an existing file.

    Raises:
        InputError: no images, a damaged one (named), names that meet, no room on the disk, or ``output``
            exists.
    """
    output = Path(output)
    items = [each if isinstance(each, Item) else None for each in sources]
    chosen = [each for each in items if each] or items_of(sources)  # type: ignore[arg-type]
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: choose another name with -o, or say --overwrite")
    if output.is_dir():
        raise InputError(f"{output} is a folder: give the name of a file")
    sizes, bad = _look(chosen, skip_bad=skip_bad)
    writer = PackWriter(output, chosen, bad)
    done = writer.resume()
    need = sum(height * width * 3 for height, width in sizes.values()) + writer.start
    free = shutil.disk_usage(output.parent).free + (writer.partial.stat().st_size if done else 0)
    if need + _SPARE_BYTES > free:
        raise InputError(
            f"{output} will have {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room, or choose "
            "another disk"
        )
    with writer, progress() as bar:
        task = bar.add_task(f"packing {output.name}", total=len(chosen), completed=done)
        for item, photo in _decoded(chosen[done:], bad, threads or os.cpu_count() or 1, skip_bad=skip_bad):
            writer.add(item, photo)
            bar.advance(task)
        writer.finish()
    return Pack(output)


def _look(items: Sequence[Item], *, skip_bad: bool) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Sizes by name, and what cannot be read, from the headers alone: before anything long starts."""
    sizes, bad = {}, {}
    for item in items:
        try:
            sizes[item.name] = image_size(item.path)
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} (--skip-bad leaves it out)") from error
            bad[item.name] = _reason(item, error)
    if not sizes:
        raise InputError(
            f"none of the {len(items)} images can be read; the first: {next(iter(bad.values()), '')}"
        )
    return sizes, bad


def _decoded(
    items: Sequence[Item], bad: dict[str, str], threads: int, *, skip_bad: bool
) -> Iterator[tuple[Item, tuple[Pixels, str] | None]]:
    """Each item with its pixels and their hash, in order; None for a bad one (why: in ``bad``)."""

    def decode(item: Item) -> tuple[Pixels, str]:
        pixels: Pixels = np.ascontiguousarray(read_rgb(item.path).permute(1, 2, 0).numpy())
        return pixels, hashlib.sha256(pixels.data).hexdigest()

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Item, Future[tuple[Pixels, str]] | None]] = deque()
        rest = iter(items)
        while True:
            while len(waiting) < 2 * threads and (item := next(rest, None)):
                waiting.append((item, None if item.name in bad else pool.submit(decode, item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            photo = None
            try:
                photo = future.result() if future else None
            except InputError as error:
                if not skip_bad:
                    for _, other in waiting:
                        if other:
                            other.cancel()
                    raise InputError(f"{error} (--skip-bad leaves it out)") from error
                bad[item.name] = _reason(item, error)
            yield item, photo


def _reason(item: Item, error: InputError) -> str:
    """Short enough for the room that the header has."""
    return str(error).replace(str(item.path), item.path.name)[-120:]


def progress() -> Progress:
    """A bar on the terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
