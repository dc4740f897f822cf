"""Files that appear whole or not at all, and the images that lie below a folder; without torch."""

import logging
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from esrgan_lightning.errors import InputError

logger = logging.getLogger(__name__)

#: The suffixes that are read and written → the name of the format.
FORMATS: Mapping[str, str] = MappingProxyType(
    {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}
    | {".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
)
#: Formats with a quality to choose.
LOSSY = ("JPEG", "WEBP", "AVIF")
#: The suffixes that are written.
SUFFIXES = tuple(FORMATS)
#: The suffixes that are read.
READABLE = (*SUFFIXES, ".jfif", ".jpe", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
_SPARE = 1 << 26  # bytes to be left free on a disk


@contextmanager
def whole_file(path: Path, check: Callable[[Path], str | None] | None = None) -> Iterator[Path]:
    """A name beside ``path`` to write to; it becomes ``path`` at the end, or goes where an error ends it.

    At any moment ``path`` is the old file or the new one, also after a power cut. Missing folders are made.
    ``check`` says what is wrong with the file once it is on the disk.

    Raises:
        OSError: The disk is full or fails, or the check found a fault; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        if check is not None and (fault := check(partial)):
            raise OSError(f"{path} does not read back as it was written: {fault}")
        rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(
    path: Path, data: bytes | memoryview, check: Callable[[Path], str | None] | None = None
) -> None:
    """Writes a file as :func:`whole_file` does."""
    with whole_file(path, check) as partial:
        partial.write_bytes(data)


def check_room(output: Path, need: int, there: int = 0) -> None:
    """Refuses so many bytes where the disk, with those that are there already, cannot take them."""
    free = shutil.disk_usage(output.parent).free + there
    if need + _SPARE > free:
        raise InputError(
            f"{output} will have {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room, or choose "
            "another disk"
        )


@contextmanager
def writing(path: Path, more: str = "") -> Iterator[None]:
    """Within the block an OSError becomes an InputError: ``path`` cannot be written, why, and ``more``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}{more}") from error


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 as :func:`whole_file` does.

    Raises:
        InputError: The file cannot be written there.
    """
    with writing(path):
        write_whole(path, text.encode(errors="backslashreplace"))


def as_text(path: str | os.PathLike[str]) -> str:
    r"""A path or message as text that UTF-8 holds, with ``/``: what is none in a name stands as ``\udcNN``.

    >>> as_text(Path("a", os.fsdecode(b"lat\xe9in.png")))
    'a/lat\\udce9in.png'
    """
    text = path.as_posix() if isinstance(path, Path) else os.fspath(path)
    return text.encode("utf-8", "backslashreplace").decode()


def with_home(word: str) -> str:
    """A word of a command line with the home folder for the ``~/`` that the shell has left in it.

    >>> with_home("--cache-dir=~/x") == f"--cache-dir={Path.home()}/x"
    True
    """
    option, value = re.fullmatch(r"(-\w|[^~/]*=)?(.*)", word, re.DOTALL).groups("")  # type: ignore[union-attr]
    return option + (str(Path(value).expanduser()) if value.startswith("~/") else value)


def rename(old: Path, new: Path) -> None:
    """Renames, and sees to it that a power cut does not undo that."""
    old.replace(new)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(new.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def cache_folder(given: str | Path | None = None) -> Path:
    """``given``, or ``esrgan-lightning`` in $XDG_CACHE_HOME, or ~/.cache: for what can be made again."""
    if given is not None:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "esrgan-lightning"


def files_below(folder: Path) -> list[Path]:
    """All that lies under ``folder`` and is no folder, sorted, except what is hidden or in a hidden folder.

    Links to folders are followed. Each folder is listed once, under its own path where it has one here.

    Raises:
        InputError: a subfolder may not be read.
    """
    found: list[Path] = []
    seen: set[str] = set()
    pending = [folder]
    for top in pending:  # which grows by the links
        for place, inner, names in os.walk(top, onerror=_unreadable):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            real = os.path.realpath(place)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            pending += filter(Path.is_symlink, (Path(place, name) for name in inner))
            found += (Path(place, name) for name in names if not name.startswith("."))
    return sorted(found)


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename} may not be read: {error.strerror}") from error


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of :func:`files_below` with a suffix of images; a warning counts those of other kinds.

    Raises:
        InputError: ``folder`` is missing, is a file, or holds no image; a subfolder may not be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is {'not a folder' if folder.exists() else 'missing'}; give a folder of images"
        )
    found = files_below(folder)
    kinds = {path: _kind(path) for path in found}
    files = [path for path in found if kinds[path] in READABLE]
    others = sorted(Counter(kind for kind in kinds.values() if kind not in READABLE).items())
    left_out = ", ".join(f"{count} {kind}" for kind, count in others)
    if not files:
        held = f"; it holds {left_out}" if left_out else ""
        raise InputError(f"{folder} holds no image{held}; known are {', '.join(READABLE)}")
    if left_out:
        _tell_once(f"{folder}: files of other kinds are left out: {left_out}")
    return files


def _kind(path: Path) -> str:
    if not path.is_file():
        return "broken links or devices"
    return path.suffix.lower() or "without suffix"


@cache
def _tell_once(message: str) -> None:
    logger.warning(message)
