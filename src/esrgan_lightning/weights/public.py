"""The networks of other projects that have a name here: where they are to be had, and what must arrive."""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from esrgan_lightning.errors import InputError


class PublicModel(NamedTuple):
    """A file of weights that its authors publish."""

    urls: list[str]  # of the same bytes, in the order in which they are tried
    sha256: str
    megabytes: int  # about its size (10⁶ bytes); doubled it is the limit
    scale: int
    licence: str  # of the authors' repository
    page: str  # that repository
    use: str  # what the network is for


#: By name.
PUBLIC: Mapping[str, PublicModel] = MappingProxyType(
    {
        name: PublicModel(**facts)
        for name, facts in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
    }
)


def public_file(name: str) -> Path:
    """Where a public network lies, or will lie once it was asked for: below the user's cache."""
    from esrgan_lightning.ops.files import cache_folder

    return cache_folder() / "models" / f"{name}.pth"


def fetch_public(name: str) -> Path:
    """The file of a public network, downloaded where it is not there yet, and held to its SHA-256.

    Args:
        name: Among :data:`PUBLIC`.

    Raises:
        InputError: It cannot be had, and the message says where to put the file by hand; or the file that
            is there is another one.
    """
    from filelock import FileLock

    from esrgan_lightning.ops.download import Expected, Patience, download
    from esrgan_lightning.ops.progress import bars

    model, target = PUBLIC[name], public_file(name)
    expected = Expected(model.sha256, limit=2_000_000 * model.megabytes)
    if target.exists():  # it appears whole: no lock, which a read-only cache would not allow
        return download((), target, expected).path
    print(f"{name}: {model.megabytes} MB from {model.page} ({model.licence}) to {target}", file=sys.stderr)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")), bars() as report:
            return download(
                model.urls,
                target,
                expected,
                progress=lambda done, total: report(name, done, total, "bytes"),
                patience=Patience(tries=3),
            ).path
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror}): set XDG_CACHE_HOME to another folder, or get "
            f"{model.urls[0]} by hand and give the file in place of the name"
        ) from error
