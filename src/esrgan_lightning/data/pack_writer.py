"""The half-made pack on disk, and how it goes on after an interruption."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from esrgan_lightning.data.packfile import FORMAT, Pixels

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
