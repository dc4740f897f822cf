"""Files that appear whole or not at all, and the files that lie below a folder."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from esrgan_lightning.errors import InputError


@contextmanager
def whole_file(path: Path, check: Callable[[Path], str | None] | None = None) -> Iterator[Path]:
    """A name beside ``path`` to write to; it becomes ``path`` at the end, or goes where an error ends it.

    Whoever looks at ``path``, at any moment, finds the old file or the new one, also after a power cut.
    Missing parent folders are made.

    Args:
        path: An existing file is replaced.
        check: What is wrong with the file, once it is on the disk; None where nothing is.

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


def rename(old: Path, new: Path) -> None:
    """Renames, and sees to it that a power cut does not undo that."""
    old.replace(new)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(new.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def files_below(folder: Path) -> list[Path]:
    """All that lies under ``folder`` and is no folder, sorted, except what is hidden or in a hidden folder.

    Links to folders are followed. Each folder is listed once, under its own path where it has one here: a
    link to a folder that has been listed, as in a loop, adds nothing.

    Raises:
        InputError: a subfolder may not be read.
    """
    found: list[Path] = []
    seen: set[str] = set()
    pending = [folder]
    while pending:
        links: list[Path] = []
        for top in pending:
            for place, inner, names in os.walk(top, onerror=_unreadable):
                inner[:] = sorted(name for name in inner if not name.startswith("."))
                real = os.path.realpath(place)
                if real in seen:
                    inner.clear()
                    continue
                seen.add(real)
                links += filter(Path.is_symlink, (Path(place, name) for name in inner))
                found += (Path(place, name) for name in names if not name.startswith("."))
        pending = links
    return sorted(found)


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename} may not be read: {error.strerror}") from error
