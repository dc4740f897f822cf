"""Images out of zip and tar files that a stranger made: only what is wanted, under names of our own."""

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from esrgan_lightning.errors import InputError

#: The most bytes of one unpacked image: more than any of the sets has, less than a disk.
MAX_IMAGE = 2**28
#: The most bytes of an unpacked archive per byte of the packed one. Images hardly shrink: a bomb does.
MAX_RATIO = 50
#: The most entries of an archive, wanted or not.
MAX_ENTRIES = 100_000

_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"
_CHUNK = 2**20
_SMALL = 2**26  # bytes up to which no ratio counts: flat drawings in a small archive shrink well
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a packing method that zipfile does not know
    UnicodeDecodeError,
)


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Unpacked:
    """A file as it came out of an archive: its place below the folder, its length and its SHA-256."""

    path: str
    bytes: int
    sha256: str


def check_archive(file: Path) -> None:
    """Raises ``InputError`` for a file that does not begin as a zip or tar(.gz): a web page, as a rule."""
    with file.open("rb") as stream:
        head = stream.read(512)
    if not (head.startswith((_ZIP, _GZIP)) or head[257:262] == b"ustar" or _old_tar(head)):
        kind = "a web page" if head.lstrip()[:1] == b"<" else "something else"
        raise InputError(f"no zip or tar archive but {kind}")


def unpack(
    file: Path,
    folder: Path,
    target: Callable[[str], str | None],
    *,
    limit: int,
    progress: Callable[[int], None] | None = None,
) -> list[Unpacked]:
    """Writes the wanted members of an archive below a folder, each read to its end and its checksum compared.

    Args:
        file: A zip, tar or tar.gz file.
        folder: Where to; the files must not be there yet.
        target: For ``ARCHIVE/PATH`` (the name without suffix, the member's path) the place below ``folder``,
            or None for what is not wanted.
        limit: The most members that may be wanted.
        progress: Called with the number of files written.

    Returns:
        What was written, in the order of the archive.

    Raises:
        InputError: The archive is damaged or truncated, holds an absolute path, ``..``, a link, a device, two
            files of one name, or more or larger files than images are; or the disk is full.
    """
    check = _Checks(file, target, limit)
    written: list[Unpacked] = []
    try:
        for place, source in (_zip if _begins(file, _ZIP) else _tar)(file, check):
            written.append(_copy(source, folder, place, check))
            if progress is not None:
                progress(len(written))
    except _BROKEN as error:
        raise InputError(f"{file} is damaged: {error or type(error).__name__}") from error
    except OSError as error:
        raise InputError(f"{file} could not be unpacked to {folder}: {error}") from error
    return written


class _Checks:
    """What holds for every entry of an archive, of whichever kind it is."""

    def __init__(self, file: Path, target: Callable[[str], str | None], limit: int) -> None:
        self.file, self.target, self.limit = file, target, limit
        self.most = max(MAX_RATIO * file.stat().st_size, _SMALL)
        self.entries, self.bytes = 0, 0
        self.names: set[str] = set()
        self.places: set[str] = set()

    def place(self, name: str, *, regular: bool, folder: bool) -> str | None:
        """Where an entry goes, None for folders and what is not wanted."""
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise self.refuse(f"it has more than {MAX_ENTRIES} entries")
        path = name.replace("\\", "/")
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or ":" in parts[0]:
            raise self.refuse(f"{name!r} leads out of its folder")
        if folder:
            return None
        if not regular:
            raise self.refuse(f"{name!r} is no plain file but a link or a device")
        if path.casefold() in self.names:
            raise self.refuse(f"{name!r} is in it twice")
        self.names.add(path.casefold())
        stem = self.file.name.removesuffix(".gz").rpartition(".")[0] or self.file.name
        place = self.target(f"{stem}/{path}")
        if place is not None:
            if place.casefold() in self.places:
                raise self.refuse(f"two files of it would become {place}")
            self.places.add(place.casefold())
            if len(self.places) > self.limit:
                raise self.refuse(f"it has more than {self.limit} images")
        return place

    def count(self, number: int) -> None:
        """Bytes that were unpacked."""
        self.bytes += number
        if self.bytes > self.most:
            raise self.refuse(f"it unpacks to more than {MAX_RATIO} times its size")

    def refuse(self, reason: str) -> InputError:
        return InputError(f"{self.file} is refused: {reason}")


def _zip(file: Path, check: _Checks) -> Iterator[tuple[str, _Readable]]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            regular = kind in (0, stat.S_IFREG)
            if entry.flag_bits & 1:
                raise check.refuse(f"{entry.filename!r} is encrypted")
            if place := check.place(entry.filename, regular=regular, folder=entry.is_dir()):
                with archive.open(entry) as source:  # at its end the checksum is compared
                    yield place, _Counted(source, check)


def _tar(file: Path, check: _Checks) -> Iterator[tuple[str, _Readable]]:
    with _plain(file) as stream:
        counted = _Counted(stream, check)
        # As a stream: a tar cannot then send the reader back and forth, and every byte is counted once.
        with tarfile.open(fileobj=counted, mode="r|") as archive:
            for entry in archive:
                regular = entry.isreg() and not entry.issparse()  # holes cost no bytes: a bomb
                if place := check.place(entry.name, regular=regular, folder=entry.isdir()):
                    source = archive.extractfile(entry)
                    assert source is not None  # it is a plain file
                    yield place, source
        # tarfile takes a cut between two members for the end: what follows it must be there and be whole.
        while counted.read(_CHUNK):
            pass


@contextmanager
def _plain(file: Path) -> Iterator[_Readable]:
    with gzip.open(file) if _begins(file, _GZIP) else file.open("rb") as stream:
        yield stream


class _Counted(io.RawIOBase):
    """A stream whose bytes count towards the archive's limit."""

    def __init__(self, source: _Readable, check: _Checks) -> None:
        self._source, self._check = source, check

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._check.count(len(data))
        return data


def _copy(source: _Readable, folder: Path, place: str, check: _Checks) -> Unpacked:
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, length = hashlib.sha256(), 0
    with target.open("xb") as file:
        while data := source.read(_CHUNK):
            length += len(data)
            if length > MAX_IMAGE:
                raise check.refuse(f"{place} has more than {MAX_IMAGE} bytes")
            digest.update(data)
            file.write(data)
    return Unpacked(place, length, digest.hexdigest())


def _begins(file: Path, magic: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _old_tar(head: bytes) -> bool:
    """A tar from before 1988 has no magic, but a checksum."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
