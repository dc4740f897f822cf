"""A pack: decoded photos in one safetensors file, mapped into memory and cropped at random."""

import hashlib
import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from esrgan_lightning.errors import InputError

#: What ``__metadata__["format"]`` says.
FORMAT = "esrgan-lightning pack 1"
#: The limit of the safetensors format itself, in bytes.
LONGEST_HEADER = 100_000_000

Pixels = NDArray[np.uint8]  # (H, W, 3)


class Pack:
    """Photos in a pack, by their number.

    The container is plain safetensors (any reader of that format opens it): each photo a U8 tensor (H,W,3)
    under its name, ``__metadata__`` with ``format`` and, as JSON, ``sha256`` by name and ``left_out`` (what
    ``--skip-bad`` left out, with the reason). Rows of pixels lie one after the other, so that a crop is a few
    short copies out of the page cache; nothing is read before it is asked for, and processes share what is.

    Args:
        path: the file. Any safetensors file of U8 (H,W,3) tensors will do.

    Raises:
        InputError: the file is missing, truncated, or no pack.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        header, start, size = _header(self.path)
        metadata = header.pop("__metadata__", {})
        self.sha256: dict[str, str] = _by_name(self.path, metadata, "sha256")
        self.left_out: dict[str, str] = _by_name(self.path, metadata, "left_out")
        entries = sorted(header.items(), key=lambda entry: cast(int, entry[1]["data_offsets"][0]))
        self.names = [name for name, _ in entries]
        shapes, offsets, end = [], [], 0
        for name, entry in entries:
            (height, width, channels), (first, last) = entry["shape"], entry["data_offsets"]
            whole = first == end and last - first == height * width * channels and min(height, width) > 0
            if entry["dtype"] != "U8" or channels != 3 or not whole:
                raise InputError(f"{self.path}: {name} is no U8 photo (H,W,3): the file is not a pack")
            shapes.append((height, width))
            offsets.append(start + first)
            end = last
        if start + end != size:
            raise InputError(
                f"{self.path} has {size} bytes where its header asks for {start + end}: it is truncated or "
                "damaged; make it again with `esrgan data pack`"
            )
        if not entries:
            raise InputError(f"{self.path} holds no photo")
        self.sizes = np.array(shapes, np.int64)  # (N, 2): height, width
        self._offsets = offsets
        with self.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        # A loader process that is spawned maps the file for itself.
        return Pack, (self.path,)

    def photo(self, index: int) -> Pixels:
        """Photo number ``index``, (H,W,3) uint8: a read-only view of the file, not yet read."""
        height, width = self.sizes[index]
        first = self._offsets[index]
        return self._bytes[first : first + height * width * 3].reshape(height, width, 3)

    def digest(self) -> str:
        """A hash over the names and contents of all photos."""
        known = hashlib.sha256()
        for name, (height, width) in zip(self.names, self.sizes.tolist(), strict=True):
            known.update(f"{name} {height} {width} {self.sha256.get(name)}\n".encode())
        return known.hexdigest()

    def damaged(self, indices: Sequence[int] | None = None) -> Iterator[tuple[str, bool]]:
        """For each photo (or those asked for) its name, and whether its bytes differ from the hash kept.

        Raises:
            InputError: the file keeps no hashes.
        """
        if not self.sha256:
            raise InputError(f"{self.path} keeps no hashes: it was not made by `esrgan data pack`")
        for index in range(len(self)) if indices is None else indices:
            name = self.names[index]
            yield name, hashlib.sha256(self.photo(index).data).hexdigest() != self.sha256.get(name)


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header as it stands, where the data starts, and the size of the file."""
    if not path.is_file():
        raise InputError(f"{path} is {'not a file' if path.exists() else 'missing'}: give a pack")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise InputError(f"{path} is no safetensors file, or truncated: give a pack")
        text = file.read(length)
    try:
        header = json.loads(text)
        for name, entry in header.items():
            if name != "__metadata__":
                _ = entry["dtype"], len(entry["shape"]), len(entry["data_offsets"])
                if [type(n) for n in (*entry["shape"], *entry["data_offsets"])] != [int] * 5:
                    raise ValueError(f"{name} is no photo")
        found = header.get("__metadata__", {}).get("format", FORMAT)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not a pack: {error}") from error
    if found != FORMAT:
        raise InputError(f"{path} says format={found!r}, and this version reads {FORMAT!r}")
    return header, 8 + length, size


def _by_name(path: Path, metadata: dict[str, str], key: str) -> dict[str, str]:
    try:
        return dict(json.loads(metadata.get(key, "{}")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a pack: its {key} cannot be read ({error})") from error
