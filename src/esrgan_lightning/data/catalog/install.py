"""Sources on the disk: archives fetched and unpacked, a record of them kept, and looked after."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from esrgan_lightning.data.catalog.archives import Unpacked, check_archive, unpack
from esrgan_lightning.data.catalog.sources import Archive, Offer, Source, find_source, sources
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images, read_image
from esrgan_lightning.ops.download import PATIENT, Downloaded, Expected, Patience, download
from esrgan_lightning.ops.files import SUFFIXES
from esrgan_lightning.ops.progress import Report

#: Folder below the root for what is downloaded; files that were got by hand go there, too.
ARCHIVES = "archives"
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
    try:
        held = FileLock(root / ".esrgan-data.lock").acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{root} is in use by another `esrgan data get`: wait for its end") from error
    with held:
        yield


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
    files = [_take(root / ARCHIVES / each.file, each, report, patience) for each in offer.archives]
    ours = tuple(file.path for file in files if file.url is not None)
    try:
        _unpack_all(source, root, files, report)
    except InputError:
        for path in ours:
            path.unlink()  # or the next attempt would find the same again
        raise
    return Installed(root / source.folder, ours)


def _take(file: Path, archive: Archive | None, report: Report | None, patience: Patience) -> Downloaded:
    archive = archive or Archive(file.name)  # a name that the table does not know: only the images tell
    limit = archive.bytes or 2 * (archive.size or 0) or _UNKNOWN
    return download(
        archive.urls,
        file,
        Expected(archive.sha256, archive.md5, archive.bytes, limit, check_archive),
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
    most = source.images * len({member.to for member in source.members})
    unpacked: list[Unpacked] = []

    def progress(number: int) -> None:
        if report is not None:
            report(f"unpacking {source.name}", len(unpacked) + number, None, "images")

    try:
        for archive in archives:
            unpacked += unpack(archive.path, folder, source.target, limit=most, progress=progress)
        files = _checked(source, folder, unpacked)
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
        files=files,
    )
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n", "utf-8")
    folder.replace(root / source.folder)


def _checked(source: Source, folder: Path, unpacked: Sequence[Unpacked]) -> tuple[FileRecord, ...]:
    """What is kept of each file, when their number and sizes are right."""
    files: list[FileRecord] = []
    sizes: dict[str, dict[str, tuple[int, int]]] = {"HR": {}}
    for file in unpacked:
        if Path(file.path).suffix.lower() not in SUFFIXES:
            raise InputError(f"{source.name}: {file.path} has no suffix of an image")
        size = image_size(folder / file.path)
        files.append(FileRecord(file.path, file.bytes, file.sha256, *size))
        to, _, name = file.path.partition("/")
        sizes.setdefault(to, {})[Path(name).stem] = size
    for to, images in sizes.items():
        if len(images) != source.images:
            raise InputError(f"the archive holds {len(images)} images for {to}, not {source.images}")
        for name, size in images.items():
            if to == "HR":
                fault = source.size_fault(*size)
            else:
                scale = int(to.removeprefix("LRbicx"))
                wanted = tuple(side // scale for side in sizes["HR"].get(name, (0, 0)))
                fault = None if size == wanted else f"its HR asks for {wanted}"
            if fault:
                raise InputError(f"{to}/{name} is {size[0]}×{size[1]} (H×W): {fault}")
    return tuple(files)


def _by_hand(source: Source, root: Path) -> str:
    """What is left to do when no offer delivers."""
    first = source.offers[0]
    names = ", ".join(archive.file for archive in first.archives)
    way = f": {source.by_hand}" if source.by_hand else ""
    return (
        f"By hand: see {source.page}{way}; put {names} into {root / ARCHIVES} and try again, "
        "or name the archive with --path"
    )


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
        with locked(root):
            for source in missing:
                install(source, root)
    folders = [folder for source in wanted if (folder := installed(root, source)) is not None]
    return [folder / "HR" for folder in folders]


def verify(source: Source, folder: Path, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Reads every image of a source: length and hash, where ``source.json`` tells them, and all its pixels.

    Args:
        source: What the folder should hold.
        folder: Of the source, with ``HR/`` in it.
        progress: Called with the number of files that were read, and of all.

    Returns:
        A line for each fault, which names the file; none where all is well.
    """
    try:
        record = read_record(folder)
        present = [path for path in list_images(folder) if path.parent.parent == folder]
    except InputError as error:
        return [str(error)]
    recorded = {folder / file.path: file for file in record.files} if record is not None else {}
    faults = []
    paths = sorted({*recorded, *present})
    for number, path in enumerate(paths, 1):
        if record is not None and path not in recorded:
            faults.append(f"{path} did not come with {source.name}")
        elif fault := _file_fault(source, path, recorded.get(path)):
            faults.append(fault)
        if progress is not None:
            progress(number, len(paths))
    if (count := sum(path.parent.name == "HR" for path in present)) != source.images:
        faults.append(f"{folder / 'HR'} holds {count} images, not {source.images}")
    return faults


def _file_fault(source: Source, path: Path, file: FileRecord | None) -> str | None:
    if not path.is_file():
        return f"{path} is missing"
    if file is not None:
        if (length := path.stat().st_size) != file.bytes:
            return f"{path} has {length} bytes, not {file.bytes}"
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                return f"{path} has another content than it had: its SHA-256 differs"
    try:
        height, width = read_image(path).shape[1:]
    except InputError as error:
        return str(error)
    fault = source.size_fault(height, width) if path.parent.name == "HR" else None
    return f"{path} is {height}×{width} (H×W): {fault}" if fault else None
