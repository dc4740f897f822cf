"""Making packs: photos of any format, decoded once, in parallel, and resumable after any interruption."""

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from esrgan_lightning.data.packfile import FORMAT, Pack, Pixels
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images, read_rgb

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A photo to be packed: its file, the name that it gets, and what tells that the file is the same."""

    path: Path
    name: str
    bytes: int
    modified: int

    @property
    def identity(self) -> list[Any]:
        """What a line of the journal must agree with."""
        return [self.name, str(self.path.resolve()), self.bytes, self.modified]


class PackWriter:
    """The half-made file, ``OUTPUT.partial``, and its journal: one line of JSON for each photo that is in.

    The header stands first in a safetensors file and is known last: room is left for the longest that it can
    become, which depends on the names alone.
    """

    def __init__(self, output: Path, items: Sequence[Item], bad: dict[str, str]) -> None:
        self.output, self.items, self.bad = output, items, bad
        self.partial = output.with_name(f"{output.name}.partial")
        self.journal = output.with_name(f"{output.name}.journal")
        # Names stand in the header three times at most (key, hash, left out), with escapes.
        names = sum(3 * len(json.dumps(json.dumps(item.name))) for item in items)
        self.start = -(-(8 + 1024 + names + 1024 * len(items)) // 4096) * 4096
        self.lines: list[dict[str, Any]] = []
        self._data: BinaryIO | None = None
        self._log: BinaryIO | None = None

    def resume(self) -> int:
        """How many items are done. What the journal says beyond the first difference is done again."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        if self.journal.exists() and self.partial.exists():
            head, *lines = self.journal.read_bytes().split(b"\n")[:-1] or [b""]
            if head == str(self.start).encode():
                with self.partial.open("rb") as data:
                    data.seek(self.start)
                    for item, text in zip(self.items, lines, strict=False):
                        line = json.loads(text)
                        if line["item"] != item.identity or not _is_in(data, line):
                            break
                        self.lines.append(line)
        for line in self.lines:
            if "bad" in line:
                self.bad[line["item"][0]] = line["bad"]
        if self.lines:
            logger.info("%s: going on after %d of %d photos", self.output, len(self.lines), len(self.items))
        return len(self.lines)

    def __enter__(self) -> "PackWriter":
        self._data = self.partial.open("r+b" if self.lines else "wb")
        self._data.truncate(self.start + sum(line.get("bytes", 0) for line in self.lines))
        self._data.seek(0, os.SEEK_END)
        # The journal is written anew up to where it holds, under another name: it is never half there.
        fresh = self.journal.with_name(f"{self.journal.name}.new")
        fresh.write_bytes(b"\n".join([str(self.start).encode(), *map(_text, self.lines)]) + b"\n")
        fresh.replace(self.journal)
        self._log = self.journal.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._data, self._log):
            if file:
                file.close()

    def add(self, item: Item, photo: tuple[Pixels, str] | None) -> None:
        """Writes the pixels, then the line that says that they are there."""
        assert self._data is not None
        assert self._log is not None
        line: dict[str, Any] = {"item": item.identity}
        if photo is None:
            line["bad"] = self.bad[item.name]
        else:
            pixels, sha256 = photo
            line |= {"shape": list(pixels.shape), "bytes": pixels.nbytes, "sha256": sha256}
            self._data.write(pixels.data)
            self._data.flush()
        self.lines.append(line)
        self._log.write(_text(line) + b"\n")
        self._log.flush()

    def finish(self) -> None:
        """Writes the header, and gives the file its name."""
        assert self._data is not None
        entries, offset, good = {}, 0, [line for line in self.lines if "bad" not in line]
        for line in good:
            end = offset + line["bytes"]
            entries[line["item"][0]] = {"dtype": "U8", "shape": line["shape"], "data_offsets": [offset, end]}
            offset = end
        hashes = {line["item"][0]: line["sha256"] for line in good}
        left_out = {line["item"][0]: line["bad"] for line in self.lines if "bad" in line}
        metadata = {"format": FORMAT, "sha256": json.dumps(hashes), "left_out": json.dumps(left_out)}
        header = json.dumps({"__metadata__": metadata, **entries}).encode()
        if len(header) > self.start - 8:
            raise RuntimeError(
                f"the header of {self.output} needs {len(header)} bytes, {self.start - 8} are left"
            )
        self._data.seek(0)
        self._data.write((self.start - 8).to_bytes(8, "little") + header.ljust(self.start - 8))
        self._data.flush()
        os.fsync(self._data.fileno())
        self.partial.replace(self.output)
        self.journal.unlink()


def _text(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode()


def _is_in(data: BinaryIO, line: dict[str, Any]) -> bool:
    """Whether the next bytes of the half-made file are those that the journal's line speaks of."""
    if "bad" in line:
        return True
    return hashlib.sha256(data.read(line["bytes"])).hexdigest() == str(line["sha256"])


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
