"""Models by name: those of the package, those of other projects, those on the Hugging Face Hub.

Nothing here imports torch: shells ask for the names while somebody types.
"""

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from esrgan_lightning.bundled import bundled_names
from esrgan_lightning.bundled import bundled_weights as bundled_weights
from esrgan_lightning.errors import InputError, nearest
from esrgan_lightning.ops.files import cache_folder, writing
from esrgan_lightning.weights.hub import HUB, fetch_hub


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
        for name, facts in tomllib.loads(Path(__file__).with_name("public.toml").read_text("utf-8")).items()
    }
)


def public_file(name: str) -> Path:
    """Where a public network lies, or will lie once it was asked for: below the user's cache."""
    return cache_folder() / "models" / f"{name}.pth"


def fetch_public(name: str) -> Path:
    """The file of a public network, downloaded where it is not there yet, and held to its SHA-256.

    Raises:
        InputError: It cannot be had (the message says where to put it by hand), or is another file.
    """
    from filelock import FileLock

    from esrgan_lightning.ops.download import Expected, Patience, download
    from esrgan_lightning.ops.progress import bars

    model, target = PUBLIC[name], public_file(name)
    expected = Expected(model.sha256, limit=2_000_000 * model.megabytes)
    if target.exists():  # it appears whole: no lock, which a read-only cache would not allow
        return download((), target, expected).path
    print(f"{name}: {model.megabytes} MB from {model.page} ({model.licence}) to {target}", file=sys.stderr)
    elsewhere = f"another folder, or get {model.urls[0]} by hand and give the file in place of the name"
    with writing(target, f": set XDG_CACHE_HOME to {elsewhere}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")), bars() as report:
            done = download(
                model.urls,
                target,
                expected,
                progress=lambda done, total: report(name, done, total, "bytes"),
                patience=Patience(tries=3),
            )
    return done.path


def model_names() -> list[str]:
    """Every name: of the bundled networks, then of the public ones.

    >>> model_names()[:2], "RealESRGAN_x4plus" in model_names()
    (['gan', 'psnr'], True)
    """
    return [*bundled_names(), *PUBLIC]


def is_name(model: str) -> bool:
    """Whether a model argument is a name or an address on the Hub, and not a path.

    >>> is_name("gan"), is_name("hf:user/repo"), is_name("./gan")
    (True, True, False)
    """
    return model in model_names() or model.startswith(HUB)


def model_path(model: str | os.PathLike[str], *, key: str = "", also: Sequence[str] = ()) -> Path:
    """The file that a model argument means: a network by its name or address, else a path.

    A name comes before a file or folder of that very name, which is ``./psnr``.

    Args:
        model: A string may be a bundled network's name, that of a public one (:data:`PUBLIC`) or
            ``hf:USER/REPO[@REVISION]``, downloaded at first use; a ``Path`` is a path always.
        key: How an error message begins, as ``init=``.
        also: Further words that are known where the model is asked for, as ``auto``.

    Raises:
        InputError: A single word that is neither a name nor a path that exists, or a network that cannot be
            fetched. That other paths exist is not checked.

    >>> model_path("gan") == bundled_weights("gan"), model_path("./gan"), model_path(Path("gan")).parts
    (True, PosixPath('gan'), ('gan',))
    """
    if not isinstance(model, str):
        return Path(model)
    if model in bundled_names():
        return bundled_weights(model)
    try:
        if model in PUBLIC:
            return fetch_public(model)
        if model.startswith(HUB):
            return fetch_hub(model)
    except InputError as error:
        raise InputError(f"{key}{error}") from error
    path = Path(model).expanduser()
    if model == path.name and not path.suffix and not path.exists():
        known = [*model_names(), *also]
        raise InputError(f"{key}{model}: neither a file nor a model has that name{nearest(model, known)}")
    return path
