"""A pack: decoded photos in one safetensors file, mapped into memory and cropped at random."""

import hashlib
import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from esrgan_lightning.errors import InputError

#: What ``__metadata__["format"]`` says.
FORMAT = "esrgan-lightning pack 1"
#: The limit of the safetensors format itself, in bytes.
LONGEST_HEADER = 100_000_000

Pixels = NDArray[np.uint8]  # (H, W, 3)


class Pack:
    """Photos in a pack, by their number.

    The container is plain safetensors (any reader of that format opens it): each photo a U8 tensor (H,W,3)
    under its name, ``__metadata__`` with ``format`` and, as JSON, ``sha256`` by name and ``left_out`` (names
    of what ``--skip-bad`` left out). Rows of pixels lie one after the other, so that a crop is a few short
    copies out of the page cache; nothing is read before it is asked for, and processes share what is.

    Args:
        path: the file. Any safetensors file of U8 (H,W,3) tensors will do.

    Raises:
        InputError: the file is missing, truncated, or no pack.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        header, start = _header(self.path)
        metadata = header.pop("__metadata__", {})
        if (found := metadata.get("format", FORMAT)) != FORMAT:
            raise InputError(f"{path} says format={found!r}, and this version reads {FORMAT!r}")
        try:
            self.sha256: dict[str, str] = dict(json.loads(metadata.get("sha256", "{}")))
            self.left_out: list[str] = list(json.loads(metadata.get("left_out", "[]")))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is not a pack: its metadata cannot be read ({error})") from error
        entries = sorted(header.items(), key=lambda entry: cast(int, entry[1]["data_offsets"][0]))
        for name, entry in entries:
            if entry["dtype"] != "U8" or entry["shape"][2:] != [3] or 0 in entry["shape"]:
                raise InputError(f"{path}: {name} is no U8 photo (H,W,3): the file is not a pack")
        if not entries:
            raise InputError(f"{path} holds no photo")
        self.names = [name for name, _ in entries]
        self.sizes = np.array([entry["shape"][:2] for _, entry in entries], np.int64)  # (N, 2)
        self._offsets = [start + entry["data_offsets"][0] for _, entry in entries]
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

    def damaged(self) -> Iterator[tuple[str, bool]]:
        """For each photo its name, and whether its bytes differ from the hash kept.

        Raises:
            InputError: the file keeps no hashes.
        """
        if not self.sha256:
            raise InputError(f"{self.path} keeps no hashes: it was not made by `esrgan data pack`")
        for index, name in enumerate(self.names):
            yield name, hashlib.sha256(self.photo(index).data).hexdigest() != self.sha256.get(name)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header as it stands, and where the data starts."""
    if not path.is_file():
        raise InputError(f"{path} is {'not a file' if path.exists() else 'missing'}: give a pack")
    try:
        with safe_open(path, framework="np"):
            pass  # it sees to it that the header is sound, and that the tensors fill the file
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is truncated or damaged, or no pack ({error}): make it again with `esrgan data pack`"
        ) from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return dict(json.loads(file.read(length))), 8 + length
