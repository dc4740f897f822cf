"""Making packs: photos of any format, decoded once, in parallel, and resumable; and packs in the cache."""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from filelock import FileLock

from esrgan_lightning.data import packfile
from esrgan_lightning.data.packfile import FORMAT, Pack, Pixels
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images, read_rgb
from esrgan_lightning.ops.files import as_text, cache_folder, check_room, write_whole, writing
from esrgan_lightning.ops.progress import bars

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
        return [self.name, as_text(self.path.resolve()), self.bytes, self.modified]


class PackWriter:
    """The half-made file, ``OUTPUT.partial``, and its journal: a line for each photo that is in.

    The header stands first in a safetensors file and is known last: room is left for the longest that it can
    become, which depends on the names alone.

    Raises:
        InputError: more photos than the header of a pack can name.
    """

    def __init__(self, output: Path, items: Sequence[Item]) -> None:
        self.output, self.items = output, items
        self.partial = output.with_name(f"{output.name}.partial")
        self.journal = output.with_name(f"{output.name}.journal")
        # A photo that was left out has its name in there once, and needs less.
        room = sum(_ENTRY + len(_json(name)) + len(_json(_json(name))) for name in (i.name for i in items))
        self.start = -(-(8 + 1024 + room) // 4096) * 4096
        if self.start - 8 > packfile.LONGEST_HEADER:
            most = len(items) * packfile.LONGEST_HEADER // self.start
            raise InputError(
                f"{output}: {len(items)} photos are more than a pack can name, about {most}: divide them "
                "into several folders or packs, which train together as data.train_dir=[DIR,DIR], "
                "data.files=[FILE,FILE]"
            )
        self.lines: list[dict[str, Any]] = []
        self._data: BinaryIO | None = None
        self._log: BinaryIO | None = None

    def resume(self, *, skip_bad: bool) -> int:
        """How many items are done. What the journal says beyond the first difference is done again."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        if self.journal.exists() and self.partial.exists():
            with self.partial.open("rb") as data:
                data.seek(self.start)
                for item, text in zip(self.items, self.journal.read_bytes().split(b"\n"), strict=False):
                    line = _parsed(text)
                    if [line.get("start"), line.get("item")] != [self.start, item.identity]:
                        break
                    if not skip_bad if "bad" in line else _hash(data.read(line["bytes"])) != line["sha256"]:
                        break
                    self.lines.append(line)
        if self.lines:
            logger.info("%s: going on after %d of %d photos", self.output, len(self.lines), len(self.items))
        return len(self.lines)

    def __enter__(self) -> "PackWriter":
        self._data = self.partial.open("r+b" if self.lines else "wb")
        self._data.truncate(self.start + sum(line.get("bytes", 0) for line in self.lines))
        self._data.seek(0, os.SEEK_END)
        write_whole(self.journal, b"".join(map(_text, self.lines)))
        self._log = self.journal.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._data, self._log):
            if file:
                file.close()
        if all("bad" in line for line in self.lines):  # nothing is in them that a rerun could use
            self.partial.unlink(missing_ok=True)
            self.journal.unlink(missing_ok=True)

    def add(self, item: Item, photo: tuple[Pixels, str] | str) -> None:
        """Writes the pixels, then the line that says that they are there; of a bad photo the reason."""
        assert self._data is not None
        assert self._log is not None
        line: dict[str, Any] = {"start": self.start, "item": item.identity}
        if isinstance(photo, str):
            line["bad"] = photo
        else:
            pixels, sha256 = photo
            line |= {"shape": list(pixels.shape), "bytes": pixels.nbytes, "sha256": sha256}
            self._data.write(pixels.data)
            self._data.flush()
        self.lines.append(line)
        self._log.write(_text(line))
        self._log.flush()

    def finish(self) -> None:
        """Writes the header, and gives the file its name.

        Raises:
            InputError: nothing is in.
        """
        assert self._data is not None
        left_out = {line["item"][0]: line["bad"] for line in self.lines if "bad" in line}
        for name, reason in left_out.items():
            logger.warning("left out %s: %s", name, reason)
        if len(left_out) == len(self.items):
            name, reason = next(iter(left_out.items()))
            raise InputError(f"none of the {len(left_out)} images can be read; the first: {name}: {reason}")
        entries, offset, good = {}, 0, [line for line in self.lines if "bad" not in line]
        for line in good:
            end = offset + line["bytes"]
            entries[line["item"][0]] = {"dtype": "U8", "shape": line["shape"], "data_offsets": [offset, end]}
            offset = end
        hashes = {line["item"][0]: line["sha256"] for line in good}
        metadata = {"format": FORMAT, "sha256": _json(hashes), "left_out": _json(list(left_out))}
        header = _json({"__metadata__": metadata, **entries}).encode()
        assert len(header) <= self.start - 8
        self._data.seek(0)
        self._data.write((self.start - 8).to_bytes(8, "little") + header.ljust(self.start - 8))
        self._data.flush()
        os.fsync(self._data.fileno())
        self.partial.replace(self.output)
        self.journal.unlink()


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# What a photo takes in the header besides its name, which stands there twice, its sides having ten digits.
_ENTRY = len(_json([{"dtype": "U8", "shape": [10**5, 10**5, 3], "data_offsets": [10**14] * 2}, "0" * 64])) + 8


def _text(line: dict[str, Any]) -> bytes:
    return f"{_json(line)}\n".encode()


def _parsed(text: bytes) -> dict[str, Any]:
    """What a line of the journal says; nothing where it is torn."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


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
            name = as_text(path.relative_to(base))
            if len(sources) > 1 and not source.is_file():
                name = f"{as_text(source.resolve().name)}/{name}"
            if name in items:
                raise InputError(
                    f"{items[name].path} and {path} would both be {name} in the pack: rename one"
                )
            status = path.stat()
            items[name] = Item(path, name, status.st_size, status.st_mtime_ns)
    return list(items.values())


def pack(
    sources: Sequence[str | Path],
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
        sources: image files and folders of them.
        output: the pack, usually ``NAME.safetensors``.
        skip_bad: leave out damaged images, with a warning, and list them in the pack, in place of stopping
            at the first.
        threads: that decode; by default as many as there are cores.
        overwrite: replace an existing file.

    Raises:
        InputError: no images, or more than a pack can name (about 450,000), a damaged one (named), names that
            meet, no room on the disk, or ``output`` exists.
    """
    output, items = Path(output), items_of(sources)
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: choose another name with -o, or say --overwrite")
    if output.is_dir():
        raise InputError(f"{output} is a folder: give the name of a file")
    writer = PackWriter(output, items)
    sizes = {item.name: _tried(item, lambda item: image_size(item.path), skip_bad) for item in items}
    bad = {name: size for name, size in sizes.items() if isinstance(size, str)}
    done = writer.resume(skip_bad=skip_bad)
    need = sum(size[0] * size[1] * 3 for size in sizes.values() if not isinstance(size, str)) + writer.start
    check_room(output, need, there=writer.partial.stat().st_size if done else 0)
    with writer, bars() as report:
        decoded = _decoded(items[done:], bad, threads or os.cpu_count() or 1, skip_bad)
        for number, (item, photo) in enumerate(decoded, done + 1):
            writer.add(item, photo)
            report(f"packing {output.name}", number, len(items), "images")
        writer.finish()
    return Pack(output)


T = TypeVar("T")


def _tried(item: Item, read: Callable[[Item], T], skip_bad: bool) -> T | str:
    """What ``read`` makes of the photo, or with ``skip_bad`` why it cannot be read."""
    try:
        return read(item)
    except InputError as error:
        if not skip_bad:
            raise InputError(f"{error} (--skip-bad, or data.skip_bad=true, leaves it out)") from error
        return as_text(str(error).replace(str(item.path), item.path.name))


def _pixels(item: Item) -> tuple[Pixels, str]:
    pixels: Pixels = np.ascontiguousarray(read_rgb(item.path).permute(1, 2, 0).numpy())
    return pixels, _hash(pixels.data)


def _decoded(
    items: Sequence[Item], bad: Mapping[str, str], threads: int, skip_bad: bool
) -> Iterator[tuple[Item, tuple[Pixels, str] | str]]:
    """Each item with its pixels and their hash, in order; for a bad one the reason."""

    def decode(item: Item) -> tuple[Pixels, str] | str:
        return bad[item.name] if item.name in bad else _tried(item, _pixels, skip_bad)

    waiting: deque[tuple[Item, Future[tuple[Pixels, str] | str]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                if len(waiting) == 2 * threads:
                    first, decoded = waiting.popleft()
                    yield first, decoded.result()
                waiting.append((item, pool.submit(decode, item)))
            yield from ((each, decoded.result()) for each, decoded in waiting)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def packed(
    sources: Sequence[str | Path], cache_dir: str | Path | None = None, *, skip_bad: bool = False
) -> Pack:
    """The pack of these photos, out of the cache where it is there already.

    Names, sizes and times of change of all files decide whether it still holds; the pack of what the files
    were before is deleted. Processes that want the same pack at the same time wait for the one that makes it.

    Args:
        sources: image files and folders of them.
        cache_dir: see :func:`~esrgan_lightning.ops.files.cache_folder`.
        skip_bad: leave damaged images out, with a notice.

    Raises:
        InputError: as :func:`~esrgan_lightning.data.packing.pack`.
    """
    items = items_of(sources)
    where = _hash(_json([str(Path(source).resolve()) for source in sources]).encode())[:12]
    what = _hash(_json([skip_bad, *(item.identity for item in items)]).encode())[:12]
    name = Path(sources[0]).resolve().name if len(sources) == 1 else "photos"
    with locked(cache_folder(cache_dir), f"{name}-{where}") as folder:
        path = folder / f"{name}-{where}-{what}.safetensors"
        if path.exists():
            try:
                return Pack(path)
            except InputError as error:
                logger.warning("%s: it is made anew", error)
                path.unlink()
        logger.info("%d photos are decoded once into %s", len(items), path)
        made = pack(sources, path, skip_bad=skip_bad)
        for old in list(folder.iterdir()):
            if old.name.startswith(f"{name}-{where}-") and old != path:
                old.unlink()
    return made


@contextmanager
def locked(folder: Path, name: str, more: str = "; data.cache_dir=DIR chooses another") -> Iterator[Path]:
    """The folder, made where it is missing; other processes wait before a block of the same name."""
    with writing(folder, more):
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f"{name}.lock").acquire()
    with held:
        yield folder


def _hash(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
