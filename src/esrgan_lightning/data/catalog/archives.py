"""Images out of zip and tar files that a stranger made: only what is wanted, under names of our own."""

import gzip
import hashlib
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from esrgan_lightning.errors import InputError

#: The most bytes of an unpacked archive per byte of the packed one. Images hardly shrink: a bomb does.
MAX_RATIO = 50

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
    RuntimeError,  # zipfile's for a member that is encrypted
)


@dataclass(frozen=True)
class Unpacked:
    """A file as it came out of an archive: its place below the folder, its length and its SHA-256."""

    path: str
    bytes: int
    sha256: str


def check_archive(file: Path) -> None:
    """Raises ``InputError`` for a file that is no zip or tar(.gz): a web page, as a rule."""
    try:
        if zipfile.is_zipfile(file) or tarfile.is_tarfile(file):
            return
    except (EOFError, zlib.error):  # a gzip that is damaged
        pass
    with file.open("rb") as stream:
        kind = "a web page" if stream.read(512).lstrip()[:1] == b"<" else "something else"
    raise InputError(f"no zip or tar archive but {kind}")


def unpack(file: Path, folder: Path, target: Callable[[str], str | None]) -> Iterator[Unpacked]:
    """Writes the wanted members of an archive below a folder, each read to its end and its checksum compared.

    Args:
        file: A zip, tar or tar.gz file.
        folder: Where to; the files must not be there yet.
        target: For ``ARCHIVE/PATH`` (the name without suffix, the member's path) the place below ``folder``,
            or None for what is not wanted.

    Yields:
        What was written, in the order of the archive.

    Raises:
        InputError: The archive is damaged or truncated; a member leads out of its folder or is a link or a
            device; two would become one file; it unpacks to far more than its size; or the disk is full.
    """
    most, total = max(MAX_RATIO * file.stat().st_size, _SMALL), 0
    stem = file.name.removesuffix(".gz").rpartition(".")[0] or file.name
    places: set[str] = set()
    try:
        for name, size, source in (_zip if zipfile.is_zipfile(file) else _tar)(file):
            total += size
            if total > most:
                raise _refused(file, f"it unpacks to more than {MAX_RATIO} times its size")
            place = target(f"{stem}/{name}")
            if place is None:
                continue
            if place.casefold() in places:
                raise _refused(file, f"two files of it would become {place}")
            places.add(place.casefold())
            with source() as stream:
                yield _copy(stream, folder, place, size)
    except tarfile.FilterError as error:
        raise _refused(file, str(error)) from error
    except _BROKEN as error:
        raise InputError(f"{file} is damaged: {error or type(error).__name__}") from error
    except OSError as error:
        raise InputError(f"{file} could not be unpacked to {folder}: {error}") from error


_Member = tuple[str, int, Callable[[], AbstractContextManager[IO[bytes]]]]


def _zip(file: Path) -> Iterator[_Member]:
    """The plain files of a zip: name, bytes, and how to open it."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            _check_name(file, entry.filename)
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(file, f"{entry.filename!r} is no plain file but a link or a device")
            if not entry.is_dir():
                # zipfile reads no more bytes than the entry tells, and compares the checksum at their end.
                yield entry.filename, entry.file_size, lambda entry=entry: archive.open(entry)  # type: ignore[misc]


def _tar(file: Path) -> Iterator[_Member]:
    """The plain files of a tar(.gz), which is read as a stream from end to end."""
    with file.open("rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    with gzip.open(file) if is_gzip else file.open("rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for entry in archive:
                tarfile.data_filter(entry, "/anywhere")  # refuses what leads out, links out of it, devices
                _check_name(file, entry.name)
                if not (entry.isdir() or entry.isreg()) or entry.issparse():  # holes cost no bytes: a bomb
                    raise _refused(file, f"{entry.name!r} is no plain file but a link or a device")
                source = archive.extractfile(entry)
                if source is not None:
                    yield entry.name, entry.size, lambda source=source: nullcontext(source)  # type: ignore[misc]
        # tarfile takes a cut between two members for the end: what follows it must be there and be whole.
        while stream.read(_CHUNK):
            pass


def _check_name(file: Path, name: str) -> None:
    """Names become places by a rule of ours; one like this shows an archive that means harm."""
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or ":" in parts[0]:
        raise _refused(file, f"{name!r} leads out of its folder")


def _copy(source: IO[bytes], folder: Path, place: str, size: int) -> Unpacked:
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size
    with target.open("xb") as file:
        while data := source.read(min(_CHUNK, left)):
            left -= len(data)
            digest.update(data)
            file.write(data)
        source.read(1)  # at the end of a zip's member its checksum is compared
    if left:
        raise EOFError(f"{place} ends after {size - left} of {size} bytes")
    return Unpacked(place, size, digest.hexdigest())


def _refused(file: Path, reason: str) -> InputError:
    return InputError(f"{file} is refused: {reason}")
