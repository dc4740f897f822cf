"""Files that appear whole or not at all, and the files that lie below a folder."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from esrgan_lightning.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; it becomes ``path`` at the end, or goes where an error ends it.

    Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
