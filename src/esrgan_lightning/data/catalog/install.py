"""Sources on the disk: archives fetched and unpacked, a record of them kept, and looked after."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from esrgan_lightning.data.catalog.archives import Unpacked, check_archive, unpack
from esrgan_lightning.data.catalog.sources import Archive, Offer, Source, find_source, sources
from esrgan_lightning.data.packing import locked
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import image_size, list_images, read_image
from esrgan_lightning.ops.download import PATIENT, Downloaded, Expected, Patience, download
from esrgan_lightning.ops.files import SUFFIXES, check_room
from esrgan_lightning.ops.progress import Report, bars, tracked

#: Folder below the root for what is downloaded; files that were got by hand go there, too.
ARCHIVES = "archives"
RECORD = "source.json"
_UNKNOWN = 10**11  # the most bytes of an archive whose size nobody tells


def install(
    source: Source, root: Path, *, given: Sequence[Path] = (), patience: Patience = PATIENT
) -> list[Path]:
    """Downloads and unpacks a source to ``root/FOLDER``, by the first of its offers that delivers.

    The folder appears under its name when everything in it has arrived and was checked: number and sizes of
    the images, from their headers. Until then it is ``.FOLDER.unpacking``, which is begun anew after a break.
    Processes that want sources below the same root at the same time wait for one another. ``given`` archives
    are taken in place of a download. Returns those that were downloaded.

    Raises:
        InputError: The folder exists, or no offer delivers the images that the table tells of.
    """
    with locked(root, ".esrgan-data", more=""), bars() as report:
        if installed(root, source):
            return []
        if (present := folder_of(root, source)) is not None:
            raise InputError(
                f"{present} is there already and is not the whole of {source.name}: move it away"
            )
        if given:
            expected = {archive.file: archive for offer in source.offers for archive in offer.archives}
            # Of a name that the table does not know the images alone are checked.
            files = [
                _take(file, expected.get(file.name, Archive(file.name)), report, patience) for file in given
            ]
            _unpack_all(source, root, files, report)
            return []
        faults = []
        for offer in source.offers:
            try:
                return _from_offer(source, offer, root, report, patience)
            except InputError as error:
                faults.append(str(error))
        raise InputError(f"{source.name}: {'; '.join(faults)}. {_by_hand(source, root)}")


def _from_offer(source: Source, offer: Offer, root: Path, report: Report, patience: Patience) -> list[Path]:
    files = [_take(root / ARCHIVES / each.file, each, report, patience) for each in offer.archives]
    ours = [file.path for file in files if file.url is not None]
    try:
        _unpack_all(source, root, files, report)
    except InputError:
        for path in ours:
            path.unlink()  # or the next attempt would find the same again
        raise
    return ours


def _take(file: Path, archive: Archive, report: Report, patience: Patience) -> Downloaded:
    limit = archive.bytes or 2 * (archive.size or 0) or _UNKNOWN
    return download(
        archive.urls,
        file,
        Expected(archive.sha256, archive.md5, archive.bytes, limit, check_archive),
        progress=lambda done, total: report(file.name, done, total, "bytes"),
        patience=patience,
    )


def _unpack_all(source: Source, root: Path, archives: Sequence[Downloaded], report: Report) -> None:
    folder = root / f".{source.folder}.unpacking"
    if folder.exists():
        shutil.rmtree(folder)
    check_room(folder, sum(archive.path.stat().st_size for archive in archives))
    folder.mkdir()
    files: list[Unpacked] = []
    try:
        for archive in archives:
            for file in unpack(archive.path, folder, source.target):
                files.append(file)
                report(f"unpacking {source.name}", len(files), None, "images")
        _check_images(source, folder, files)
    except InputError:
        shutil.rmtree(folder)
        raise
    record = {
        "source": source.name,
        **{key: getattr(source, key) for key in ("title", "page", "licence", "citation")},
        "installed": datetime.now(UTC).isoformat(timespec="seconds"),
        "archives": [{"file": each.path.name, "url": each.url, "sha256": each.sha256} for each in archives],
        "files": [asdict(file) for file in files],
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    folder.replace(root / source.folder)


def _check_images(source: Source, folder: Path, files: Sequence[Unpacked]) -> None:
    """Refuses another number of images, and other sizes."""
    sizes: dict[str, dict[str, tuple[int, int]]] = {"HR": {}}
    for file in files:
        if Path(file.path).suffix.lower() not in SUFFIXES:
            raise InputError(f"{source.name}: {file.path} has no suffix of an image")
        to, _, name = file.path.partition("/")
        sizes.setdefault(to, {})[Path(name).stem] = image_size(folder / file.path)
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


def _recorded(folder: Path) -> list[Unpacked] | None:
    """The files that a folder's record tells of; None where there is no record."""
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        files = json.loads(path.read_bytes())["files"]
        return [Unpacked(str(file["path"]), file["bytes"], file["sha256"]) for file in files]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}): move {folder} away and get it again") from error


def _by_hand(source: Source, root: Path) -> str:
    """What is left to do when no offer delivers."""
    first = source.offers[0]
    names = ", ".join(archive.file for archive in first.archives)
    way = f": {source.by_hand}" if source.by_hand else ""
    put = f"put {names} into {root / ARCHIVES}, or name it with --path"
    return f"By hand: see {source.page}{way}; {put}, and try again"


def folder_of(root: Path, source: Source) -> Path | None:
    """The source's folder below a root, found without regard to case; None where there is none."""
    if not root.is_dir():
        return None
    alike = [path for path in sorted(root.iterdir()) if path.name.lower() == source.folder.lower()]
    return next((path for path in alike if path.name == source.folder), alike[0] if alike else None)


def installed(root: Path, source: Source) -> Path | None:
    """The folder of a source that is there as a whole, with its images in ``HR/``; None otherwise.

    Whole means: every file of ``source.json`` has its length. In a folder that was not made by ``esrgan data
    get`` the number of images counts. What is in the files, ``esrgan data verify`` looks at.

    Raises:
        InputError: A damaged ``source.json``.
    """
    folder = folder_of(root, source)
    if folder is None or not (folder / "HR").is_dir():
        return None
    if (files := _recorded(folder)) is not None:
        there = [(folder / file.path, file.bytes) for file in files]
        whole = all(path.is_file() and path.stat().st_size == length for path, length in there)
    else:
        whole = any((folder / "HR").iterdir()) and len(list_images(folder / "HR")) == source.images
    return folder if whole else None


def require(root: Path, names: Sequence[str], *, download: bool = False) -> list[Path]:
    """The ``HR`` folders of packaged sources, in the order of their names; ``download`` fetches the missing.

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
        for source in missing:
            install(source, root)
    folders = [folder for source in wanted if (folder := installed(root, source)) is not None]
    return [folder / "HR" for folder in folders]


def verify(source: Source, folder: Path) -> list[str]:
    """Reads every image of a source: its hash, where ``source.json`` tells it, and all its pixels.

    Returns a line for each fault, which names the file; none where all is well.
    """
    try:
        record = _recorded(folder)
        present = [path for path in list_images(folder) if path.parent.parent == folder]
    except InputError as error:
        return [str(error)]
    hashes = {folder / file.path: file.sha256 for file in record or ()}
    faults = []
    for path in tracked(sorted({*hashes, *present}), f"reading {source.name}"):
        if record is not None and path not in hashes:
            faults.append(f"{path} did not come with {source.name}")
        elif fault := _file_fault(source, path, hashes.get(path)):
            faults.append(fault)
    if (count := sum(path.parent.name == "HR" for path in present)) != source.images:
        faults.append(f"{folder / 'HR'} holds {count} images, not {source.images}")
    return faults


def _file_fault(source: Source, path: Path, sha256: str | None) -> str | None:
    if not path.is_file():
        return f"{path} is missing"
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        return f"{path} has another content than it had: its SHA-256 differs"
    try:
        height, width = read_image(path).shape[1:]
    except InputError as error:
        return str(error)
    fault = source.size_fault(height, width) if path.parent.name == "HR" else None
    return f"{path} is {height}×{width} (H×W): {fault}" if fault else None
