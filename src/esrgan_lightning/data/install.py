"""A source brought to the disk: archives fetched, images unpacked and checked, a record kept beside them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from esrgan_lightning.data.archives import Unpacked, check_archive, unpack
from esrgan_lightning.data.catalogue import folder_of
from esrgan_lightning.data.download import Downloaded, download
from esrgan_lightning.data.record import ArchiveRecord, FileRecord, Record, write_record
from esrgan_lightning.data.source_table import Archive, Offer, Source
from esrgan_lightning.data.transfer import PATIENT, Patience
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size
from esrgan_lightning.ops.image import SUFFIXES

#: Folder below the root for what is downloaded; files that were got by hand go there, too.
ARCHIVES = "archives"


class Report(Protocol):
    """Told how far things are: ``total`` is None where it is not known, ``unit`` "bytes" or "images"."""

    def __call__(self, what: str, done: int, total: int | None, unit: str) -> None:
        """``done`` of ``total`` units of ``what``."""


_UNKNOWN = 10**11  # the most bytes of an archive whose size nobody tells


@dataclass(frozen=True)
class Installed:
    """The folder of a source, and the archives that were downloaded for it."""

    folder: Path
    downloaded: tuple[Path, ...]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Within the block no other process changes the sources below a root.

    Raises:
        InputError: Another one is at it.
    """
    from filelock import FileLock, Timeout

    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".esrgan-data.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{root} is in use by another `esrgan data get`: wait for its end") from error
    try:
        yield
    finally:
        lock.release()


def install(
    source: Source,
    root: Path,
    *,
    given: Sequence[Path] = (),
    report: Report | None = None,
    patience: Patience = PATIENT,
) -> Installed:
    """Downloads and unpacks a source to ``root/FOLDER``, by the first of its offers that delivers.

    The folder appears under its name when everything in it has arrived and was checked: number and sizes of
    the images, from their headers. Until then it is ``.FOLDER.unpacking``, which is begun anew after a break.

    Args:
        source: What is wanted.
        root: Holds a folder per source.
        given: Archives that are there already, taken in place of a download.
        report: Called as things go on.
        patience: Of the downloads.

    Raises:
        InputError: The folder exists, or no offer delivers the images that the table tells of.
    """
    if (present := folder_of(root, source)) is not None:
        raise InputError(f"{present} is there already and is not the whole of {source.name}: move it away")
    if given:
        for file in given:
            if not file.is_file():
                raise InputError(f"{file} is no file: name an archive of {source.title}")
        expected = {archive.file: archive for offer in source.offers for archive in offer.archives}
        files = [_take(file, expected.get(file.name), report, patience) for file in given]
        _unpack_all(source, root, files, report)
        return Installed(root / source.folder, ())
    faults = []
    for offer in source.offers:
        try:
            return _from_offer(source, offer, root, report, patience)
        except InputError as error:
            faults.append(str(error))
    raise InputError(f"{source.name}: {'; '.join(faults)}. {_by_hand(source, root)}")


def _from_offer(
    source: Source, offer: Offer, root: Path, report: Report | None, patience: Patience
) -> Installed:
    files, ours = [], []
    for archive in offer.archives:
        file = _take(root / ARCHIVES / archive.file, archive, report, patience)
        files.append(file)
        if file.url is not None:
            ours.append(file.path)
    try:
        _unpack_all(source, root, files, report)
    except InputError:
        for path in ours:
            path.unlink()  # or the next attempt would find the same again
        raise
    return Installed(root / source.folder, tuple(ours))


def _take(file: Path, archive: Archive | None, report: Report | None, patience: Patience) -> Downloaded:
    archive = archive or Archive(file.name)  # a name that the table does not know: only the images tell
    limit = archive.bytes or 2 * (archive.size or 0) or _UNKNOWN
    return download(
        archive.urls,
        file,
        sha256=archive.sha256,
        md5=archive.md5,
        size=archive.bytes,
        limit=limit,
        check=check_archive,
        progress=None if report is None else lambda done, total: report(file.name, done, total, "bytes"),
        patience=patience,
    )


def _unpack_all(source: Source, root: Path, archives: Sequence[Downloaded], report: Report | None) -> None:
    folder = root / f".{source.folder}.unpacking"
    if folder.exists():
        shutil.rmtree(folder)
    need = sum(archive.path.stat().st_size for archive in archives)
    root.mkdir(parents=True, exist_ok=True)
    if need > (free := shutil.disk_usage(root).free):
        raise InputError(f"{root} has {free / 1e9:.1f} GB free and {need / 1e9:.1f} GB are needed to unpack")
    folder.mkdir()
    try:
        files: list[Unpacked] = []
        for archive in archives:
            files += _unpack(source, archive.path, folder, len(files), report)
        sizes = _checked(source, folder, files)
    except InputError:
        shutil.rmtree(folder)
        raise
    record = Record(
        source=source.name,
        title=source.title,
        page=source.page,
        licence=source.licence,
        citation=source.citation,
        installed=datetime.now(UTC).isoformat(timespec="seconds"),
        archives=tuple(ArchiveRecord(file.path.name, file.url, file.sha256) for file in archives),
        files=tuple(
            FileRecord(**asdict(file), height=height, width=width)
            for file, (height, width) in zip(files, sizes, strict=True)
        ),
    )
    write_record(folder, record)
    folder.replace(root / source.folder)


def _unpack(
    source: Source, archive: Path, folder: Path, before: int, report: Report | None
) -> list[Unpacked]:
    def progress(number: int) -> None:
        if report is not None:
            report(f"unpacking {source.name}", before + number, None, "images")

    most = source.images * len({member.to for member in source.members})
    return unpack(archive, folder, source.target, limit=most, progress=progress)


def _checked(source: Source, folder: Path, files: Sequence[Unpacked]) -> list[tuple[int, int]]:
    """(H, W) of each file, when their number and sizes are right."""
    sizes: dict[str, tuple[int, int]] = {}
    for file in files:
        if Path(file.path).suffix.lower() not in SUFFIXES:
            raise InputError(f"{source.name}: {file.path} has no suffix of an image")
        sizes[file.path] = image_size(folder / file.path)
    by_folder: dict[str, dict[str, tuple[int, int]]] = {}
    for path, size in sizes.items():
        to, _, name = path.partition("/")
        by_folder.setdefault(to, {})[Path(name).stem] = size
    hr = by_folder.get("HR", {})
    for to, images in {"HR": hr, **by_folder}.items():
        if len(images) != source.images:
            raise InputError(f"the archive holds {len(images)} images for {to}, not {source.images}")
        for name, (height, width) in images.items():
            if to == "HR":
                if fault := source.size_fault(height, width):
                    raise InputError(f"{to}/{name} is {height}×{width} (H×W): {fault}")
                continue
            scale = int(to.removeprefix("LRbicx"))
            wanted = tuple(side // scale for side in hr.get(name, (0, 0)))
            if (height, width) != wanted:
                raise InputError(f"{to}/{name} is {height}×{width} (H×W) and its HR asks for {wanted}")
    return [sizes[file.path] for file in files]


def _by_hand(source: Source, root: Path) -> str:
    """What is left to do when no offer delivers."""
    first = source.offers[0]
    names = ", ".join(archive.file for archive in first.archives)
    way = f": {source.by_hand}" if source.by_hand else ""
    return (
        f"By hand: see {source.page}{way}; put {names} into {root / ARCHIVES} and try again, "
        "or name the archive with --path"
    )
