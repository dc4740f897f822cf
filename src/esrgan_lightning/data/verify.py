"""Whether the images on the disk are still the ones that arrived."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from esrgan_lightning.data.record import FileRecord, read_record
from esrgan_lightning.data.source_table import Source
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import list_images, read_image


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
