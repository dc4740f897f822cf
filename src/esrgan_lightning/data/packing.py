"""Making packs: photos of any format, decoded once, in parallel, and resumable after any interruption."""

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from esrgan_lightning.data import packfile
from esrgan_lightning.data.packfile import FORMAT, Pack, Pixels
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images, read_rgb
from esrgan_lightning.ops.files import as_text, write_whole
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

    A line is the hash of its JSON, and the JSON. The header stands first in a safetensors file and is known
    last: room is left for the longest that it can become, which depends on the names alone.

    Raises:
        InputError: more photos than the header of a pack can name.
    """

    def __init__(self, output: Path, items: Sequence[Item]) -> None:
        self.output, self.items = output, items
        self.partial = output.with_name(f"{output.name}.partial")
        self.journal = output.with_name(f"{output.name}.journal")
        # A photo that was left out has its reason in place of shape, offsets and hash, and is no longer.
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
                    if not skip_bad if "bad" in line else not _is_in(data, line):
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
            while len(_json(_json(photo))) > _REASON:  # of what it says, the end tells most
                photo = photo[1:]
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
        metadata = {"format": FORMAT, "sha256": _json(hashes), "left_out": _json(left_out)}
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


_REASON = 120  # characters in the header
# What a photo takes in the header besides its name, which stands there twice, its sides having ten digits.
_ENTRY = len(_json([{"dtype": "U8", "shape": [10**5, 10**5, 3], "data_offsets": [10**14] * 2}, "0" * 64])) + 8


def _text(line: dict[str, Any]) -> bytes:
    body = _json(line).encode()
    return hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n"


def _parsed(text: bytes) -> dict[str, Any]:
    """What a line of the journal says; nothing where it is damaged."""
    sha256, _, body = text.partition(b" ")
    whole = hashlib.sha256(body).hexdigest().encode() == sha256
    return dict(json.loads(body)) if whole else {}


def _is_in(data: BinaryIO, line: dict[str, Any]) -> bool:
    """Whether the next bytes of the half-made file are those that the journal's line speaks of."""
    return hashlib.sha256(data.read(line["bytes"])).hexdigest() == str(line["sha256"])


def check_room(output: Path, need: int, there: int = 0) -> None:
    """Refuses so many bytes where the disk, with those that are there already, cannot take them."""
    free = shutil.disk_usage(output.parent).free + there
    if need + _SPARE_BYTES > free:
        raise InputError(
            f"{output} will have {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room, or choose "
            "another disk"
        )


_SPARE_BYTES = 64 << 20  # to be left free


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
    switch: str = "skip_bad=True",
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
        switch: what ``skip_bad`` is called where the user can set it.

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
    advice = None if skip_bad else f"{switch} leaves it out"
    sizes = {item.name: _tried(item, lambda item: image_size(item.path), advice) for item in items}
    bad = {name: size for name, size in sizes.items() if isinstance(size, str)}
    done = writer.resume(skip_bad=skip_bad)
    need = sum(size[0] * size[1] * 3 for size in sizes.values() if not isinstance(size, str)) + writer.start
    check_room(output, need, there=writer.partial.stat().st_size if done else 0)
    with writer, bars() as report:
        decoded = _decoded(items[done:], bad, threads or os.cpu_count() or 1, advice)
        for number, (item, photo) in enumerate(decoded, done + 1):
            writer.add(item, photo)
            report(f"packing {output.name}", number, len(items), "images")
        writer.finish()
    return Pack(output)


T = TypeVar("T")


def _tried(item: Item, read: Callable[[Item], T], advice: str | None) -> T | str:
    """What ``read`` makes of the photo, or why it cannot be read.

    Raises:
        InputError: it cannot be read, and there is advice.
    """
    try:
        return read(item)
    except InputError as error:
        if advice:
            raise InputError(f"{error} ({advice})") from error
        return as_text(str(error).replace(str(item.path), item.path.name))


def _pixels(item: Item) -> tuple[Pixels, str]:
    pixels: Pixels = np.ascontiguousarray(read_rgb(item.path).permute(1, 2, 0).numpy())
    return pixels, hashlib.sha256(pixels.data).hexdigest()


def _decoded(
    items: Sequence[Item], bad: Mapping[str, str], threads: int, advice: str | None
) -> Iterator[tuple[Item, tuple[Pixels, str] | str]]:
    """Each item with its pixels and their hash, in order; for a bad one the reason."""

    def decode(item: Item) -> tuple[Pixels, str] | str:
        return bad[item.name] if item.name in bad else _tried(item, _pixels, advice)

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
