"""``source.json``: what lies in a source's folder, and where it came from."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from esrgan_lightning.errors import InputError

RECORD = "source.json"


@dataclass(frozen=True)
class FileRecord:
    """An image: its place below the folder, length in bytes, SHA-256, and size in pixels."""

    path: str
    bytes: int
    sha256: str
    height: int
    width: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(HR|LRbicx[2-8])/[^/\\]+", self.path):
            raise ValueError(f"{self.path!r} is no image of a source")


@dataclass(frozen=True)
class ArchiveRecord:
    """An archive: its name, the address that it came from (None: it was there already), its SHA-256."""

    file: str
    url: str | None
    sha256: str


@dataclass(frozen=True)
class Record:
    """What is kept beside the images; ``installed`` is the time in UTC, after ISO 8601."""

    source: str
    title: str
    page: str
    licence: str
    citation: str
    installed: str
    archives: tuple[ArchiveRecord, ...]
    files: tuple[FileRecord, ...]


def write_record(folder: Path, record: Record) -> None:
    """Writes ``source.json`` into a folder that is not under its final name yet."""
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_record(folder: Path) -> Record | None:
    """The record of a folder, None where there is none.

    Raises:
        InputError: The file is damaged.
    """
    from pydantic import TypeAdapter, ValidationError

    file = folder / RECORD
    if not file.exists():
        return None
    try:
        return TypeAdapter(Record).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is damaged ({reason}): move {folder} away and get it again") from error
