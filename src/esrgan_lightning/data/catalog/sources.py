"""The sources of images that the library knows: a table in TOML, checked before anything is downloaded."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from esrgan_lightning.errors import InputError

_TABLE = Path(__file__).with_name("sources.toml")

# A name with no separators, nothing hidden, nothing that another file system refuses.
_PLAIN = r'^[^/\\\x00-\x1f\x7f:*?"<>|. -][^/\\\x00-\x1f\x7f:*?"<>|]*$'
_Name = Annotated[str, Field(pattern=_PLAIN)]
_STRICT = ConfigDict(extra="forbid")  # a misspelt key is an error, not a setting that does nothing


@dataclass(frozen=True, config=_STRICT)
class Member:
    r"""Which files of an archive are images, and what they become.

    Attributes:
        to: The folder: ``HR``, or ``LRbicx2`` and so on for given LR images.
        match: A regular expression for the whole of ``ARCHIVE/PATH``: the archive's name without its suffix,
            and the member's path with slashes.
        name: The file name in that folder, with ``\1`` and so on for the groups of ``match``.
    """

    to: Annotated[str, Field(pattern="^(HR|LRbicx[2-8])$")]
    match: re.Pattern[str]
    name: str

    def target(self, path: str) -> str | None:
        """``HR/0001.png`` for a path that matches, None for one that does not.

        Raises:
            InputError: The name that comes out is no plain file name.
        """
        found = self.match.fullmatch(path)
        if found is None:
            return None
        name = found.expand(self.name)
        if not re.fullmatch(_PLAIN, name):
            raise InputError(f"{path} would become {name!r}, which is no plain file name")
        return f"{self.to}/{name}"


@dataclass(frozen=True, config=_STRICT)
class Archive:
    """One file to download; without ``urls`` one that is only to be had by hand.

    Attributes:
        file: Its name on disk.
        urls: Addresses of the same bytes, in the order in which they are tried.
        bytes: Its size, where it is published; it must be exactly this.
        megabytes: About its size (10⁶ bytes), where only that is known; shown, and doubled it is the limit.
        sha256, md5: Its hashes in hexadecimal, where they are published.
    """

    file: _Name
    urls: tuple[Annotated[str, Field(pattern="^https?://[^/]+/")], ...] = ()
    bytes: int | None = None
    megabytes: float | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None

    @property
    def size(self) -> int | None:
        """Its size in bytes, exact or about, None where nothing is known."""
        return self.bytes if self.bytes or not self.megabytes else int(self.megabytes * 1e6)


@dataclass(frozen=True, config=_STRICT)
class Offer:
    """One way to the images: all of its archives together hold the whole source."""

    archives: Annotated[tuple[Archive, ...], Field(min_length=1)]
    origin: str = ""

    @property
    def size(self) -> int | None:
        """Bytes to download, None where it is not known."""
        sizes = [archive.size for archive in self.archives]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def automatic(self) -> bool:
        """Whether each archive has an address."""
        return all(archive.urls for archive in self.archives)


@dataclass(frozen=True, config=_STRICT)
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

    name: Annotated[str, Field(pattern="^[a-z0-9_]+$")]
    title: str
    folder: _Name
    purpose: Literal["train", "test"]
    images: PositiveInt
    licence: str
    citation: str
    page: str
    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    offers: Annotated[tuple[Offer, ...], Field(min_length=1)]
    by_hand: str = ""
    shorter: tuple[int, int] | None = None
    longer: tuple[int, int] | None = None

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
    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; give a table of sources") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}") from error
    adapter, found = TypeAdapter(Source), {}
    for name, table in data.items():
        try:
            found[name] = adapter.validate_python(
                {**table, "name": name} if isinstance(table, dict) else table
            )
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in (name, *first["loc"]))
            given = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
            raise InputError(f"{file}: {key}{given}: {first['msg']}") from error
    return found


def sources(table: Path | None = None) -> dict[str, Source]:
    """The packaged sources by name; those of a table of the user's own are added, or take their place.

    Raises:
        InputError: The table is wrong; the message names the file and the key.
    """
    return read_table(_TABLE) | (read_table(table) if table is not None else {})


def find_source(name: str, known: Mapping[str, Source]) -> Source:
    """The source of that name, without regard to case.

    Raises:
        InputError: There is none; the message lists what there is.
    """
    if name.lower() not in known:
        raise InputError(f"no source is called {name!r}; there are {', '.join(sorted(known))}")
    return known[name.lower()]
