"""The sources of images that the library knows, and which of them lie below a root."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from esrgan_lightning.data.record import read_record
from esrgan_lightning.data.source_table import Source, read_table
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import list_images

_TABLE = Path(__file__).with_name("sources.toml")


def sources(table: Path | None = None) -> dict[str, Source]:
    """The packaged sources by name; those of a table of the user's own are added, or take their place.

    Raises:
        InputError: The table is wrong; the message names the file and the key.
    """
    return read_table(_TABLE) | (read_table(table) if table is not None else {})


def find_source(name: str, known: Mapping[str, Source] | None = None) -> Source:
    """The source of that name.

    Args:
        name: ``div2k_train``, without regard to case.
        known: What there is; the packaged sources where it is not given.

    Raises:
        InputError: There is none; the message lists what there is.
    """
    known = sources() if known is None else known
    if name.lower() not in known:
        raise InputError(f"no source is called {name!r}; there are {', '.join(sorted(known))}")
    return known[name.lower()]


def folder_of(root: Path, source: Source) -> Path | None:
    """The source's folder below a root, found without regard to case; None where there is none."""
    if not root.is_dir():
        return None
    alike = [path for path in sorted(root.iterdir()) if path.name.lower() == source.folder.lower()]
    return next((path for path in alike if path.name == source.folder), alike[0] if alike else None)


def installed(root: Path, name: str | Source) -> Path | None:
    """The folder of a source that is there as a whole, with its images in ``HR/``; None otherwise.

    Whole means: every file of ``source.json`` has its length. In a folder that was not made by ``esrgan data
    get`` the number of images counts. What is in the files, ``esrgan data verify`` looks at.

    Raises:
        InputError: No such source, or a damaged ``source.json``.
    """
    source = find_source(name) if isinstance(name, str) else name
    folder = folder_of(root, source)
    if folder is None or not (folder / "HR").is_dir():
        return None
    if (record := read_record(folder)) is not None:
        files = [(folder / file.path, file.bytes) for file in record.files]
        whole = all(path.is_file() and path.stat().st_size == length for path, length in files)
    else:
        whole = any((folder / "HR").iterdir()) and len(list_images(folder / "HR")) == source.images
    return folder if whole else None


def require(root: Path, names: Sequence[str], *, download: bool = False) -> list[Path]:
    """The ``HR`` folders of sources, in the order of their names.

    Args:
        root: Holds a folder per source.
        names: Of packaged sources.
        download: Fetch what is not there, in place of an error.

    Raises:
        InputError: A source is unknown, or not there as a whole: the message is the command that fetches it.
    """
    known = sources()
    wanted = [find_source(name, known) for name in names]
    if missing := [source for source in wanted if installed(root, source) is None]:
        if not download:
            command = f"esrgan data get {' '.join(source.name for source in missing)} --root {root}"
            titles = ", ".join(source.title for source in missing)
            raise InputError(f"{titles}: not there as a whole below {root}; fetch it by: {command}")
        from esrgan_lightning.data.install import install, locked

        with locked(root):
            for source in missing:
                install(source, root)
    folders = [folder for source in wanted if (folder := installed(root, source)) is not None]
    return [folder / "HR" for folder in folders]
