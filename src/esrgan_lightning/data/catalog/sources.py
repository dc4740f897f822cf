"""The sources of images that the library knows: a table in TOML, checked before anything is downloaded."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from esrgan_lightning.errors import InputError

_TABLE = Path(__file__).with_name("sources.toml")

# No separators, nothing hidden, nothing that another file system refuses.
_PLAIN = re.compile(r'[^/\\\x00-\x1f\x7f:*?"<>|. -][^/\\\x00-\x1f\x7f:*?"<>|]*')
_STRICT = {"extra": "forbid"}  # pydantic's: a misspelt key is an error, not a setting that does nothing


@dataclass(frozen=True)
class Member:
    r"""Which files of an archive are images, and what they become.

    Attributes:
        to: The folder: ``HR``, or ``LRbicx2`` and so on for given LR images.
        match: A regular expression for the whole of ``ARCHIVE/PATH``: the archive's name without its suffix,
            and the member's path with slashes.
        name: The file name in that folder, with ``\1`` and so on for the groups of ``match``.
    """

    __pydantic_config__ = _STRICT
    to: str
    match: str
    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"HR|LRbicx[2-8]", self.to):
            raise ValueError(f"to = {self.to!r} is neither HR nor LRbicx2 to LRbicx8")
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"match = {self.match!r} is no regular expression: {error}") from error

    def target(self, path: str) -> str | None:
        """``HR/0001.png`` for a path that matches, None for one that does not.

        Raises:
            InputError: The name that comes out is no plain file name.
        """
        found = re.fullmatch(self.match, path)
        if found is None:
            return None
        name = found.expand(self.name)
        if not _PLAIN.fullmatch(name):
            raise InputError(f"{path} would become {name!r}, which is no plain file name")
        return f"{self.to}/{name}"


@dataclass(frozen=True)
class Archive:
    """One file to download; without ``urls`` one that is only to be had by hand.

    Attributes:
        file: Its name on disk.
        urls: Addresses of the same bytes, in the order in which they are tried.
        bytes: Its size, where it is published; it must be exactly this.
        megabytes: About its size (10⁶ bytes), where only that is known; shown, and doubled it is the limit.
        sha256, md5: Its hashes in hexadecimal, where they are published.
    """

    __pydantic_config__ = _STRICT
    file: str
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    megabytes: float | None = None
    sha256: str | None = None
    md5: str | None = None

    def __post_init__(self) -> None:
        if not _PLAIN.fullmatch(self.file):
            raise ValueError(f"file = {self.file!r} is no plain file name")
        for url in self.urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
                raise ValueError(f"urls: {url!r} is no http(s) address")
        for key, digits in (("sha256", 64), ("md5", 32)):
            value = getattr(self, key)
            if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
                raise ValueError(f"{key} = {value!r} is not {digits} lower-case hexadecimal digits")

    @property
    def size(self) -> int | None:
        """Its size in bytes, exact or about, None where nothing is known."""
        return self.bytes if self.bytes or not self.megabytes else int(self.megabytes * 1e6)


@dataclass(frozen=True)
class Offer:
    """One way to the images: all of its archives together hold the whole source."""

    __pydantic_config__ = _STRICT
    archives: tuple[Archive, ...]
    origin: str = ""

    def __post_init__(self) -> None:
        if not self.archives:
            raise ValueError("archives is empty")

    @property
    def size(self) -> int | None:
        """Bytes to download, None where it is not known."""
        sizes = [archive.size for archive in self.archives]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def automatic(self) -> bool:
        """Whether each archive has an address."""
        return all(archive.urls for archive in self.archives)


@dataclass(frozen=True)
class Source:
    """A set of images: where it is to be had, what must arrive, and under which terms.

    Attributes:
        name: As it is asked for, ``div2k_train``.
        title: As the literature calls it.
        folder: Its folder below the root; evaluation finds it without regard to case.
        purpose: What the field uses it for.
        images: The number of HR images.
        licence, citation: Shown before a download and kept beside the images.
        page: Where a person finds it.
        members: The images inside the archives, whichever offer these are of.
        offers: Ways to the archives, in the order in which they are tried.
        by_hand: For what no address leads to: what to do.
        shorter, longer: (least, most) pixels of the shorter and the longer side of HR images, where known.
    """

    __pydantic_config__ = _STRICT
    name: str
    title: str
    folder: str
    purpose: Literal["train", "test"]
    images: int
    licence: str
    citation: str
    page: str
    members: tuple[Member, ...]
    offers: tuple[Offer, ...]
    by_hand: str = ""
    shorter: tuple[int, int] | None = None
    longer: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not _PLAIN.fullmatch(self.folder):
            raise ValueError(f"folder = {self.folder!r} is no plain folder name")
        if self.images < 1:
            raise ValueError(f"images = {self.images} is less than 1")
        if not any(member.to == "HR" for member in self.members):
            raise ValueError('members has none with to = "HR"')
        if not self.offers:
            raise ValueError("offers is empty: name at least the archive that is to be had by hand")

    def target(self, path: str) -> str | None:
        """What ``ARCHIVE/PATH`` becomes by the first member that matches; None: it is not wanted."""
        return next((found for member in self.members if (found := member.target(path))), None)

    def size_fault(self, height: int, width: int) -> str | None:
        """What is wrong with the size of an HR image, None where nothing is."""
        for name, side, limits in (
            ("shorter", min(height, width), self.shorter),
            ("longer", max(height, width), self.longer),
        ):
            if limits is not None and not limits[0] <= side <= limits[1]:
                return f"its {name} side is {side}, not {limits[0]} to {limits[1]}"
        return None


def read_table(file: Path) -> dict[str, Source]:
    """The sources of a TOML file, one table each (the packaged ``sources.toml`` shows the form).

    Raises:
        InputError: The file is missing or no TOML, or a value is missing, unknown or wrong; it names the key.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; give a table of sources") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}") from error
    adapter = TypeAdapter(Source)
    sources = {}
    for name, table in data.items():
        if not re.fullmatch(r"[a-z0-9_]+", name) or not isinstance(table, dict):
            raise InputError(f"{file}: {name!r} is no table named in lower-case letters, digits and _")
        try:
            sources[name] = adapter.validate_python({**table, "name": name})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in (name, *first["loc"]))
            raise InputError(f"{file}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
    return sources


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
