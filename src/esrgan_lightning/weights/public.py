"""The networks of other projects that have a name here: where they are to be had, and what must arrive.

A name is that of the file its authors published. A digest stands here only where two sources that do not
depend on each other state the same one: packages of Linux distributions, model databases, other upscalers.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from esrgan_lightning.errors import InputError


class PublicModel(NamedTuple):
    """A file of weights that its authors publish.

    Attributes:
        urls: Addresses of the same bytes, in the order in which they are tried.
        sha256: Of the file, in hexadecimal.
        megabytes: About its size (10⁶ bytes); doubled it is the limit.
        scale: Of the network.
        licence: Under which the authors' repository stands.
        page: Their repository.
        use: What it is for.
    """

    urls: tuple[str, ...]
    sha256: str
    megabytes: int
    scale: int
    licence: str
    page: str
    use: str


_REAL_PAGE = "github.com/xinntao/Real-ESRGAN"
_REAL = f"https://{_REAL_PAGE}/releases/download"
_KAIR = "https://github.com/cszn/KAIR/releases/download/v1.0"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="

#: By name.
PUBLIC: Mapping[str, PublicModel] = MappingProxyType(
    {
        "RealESRGAN_x4plus": PublicModel(
            (f"{_REAL}/v0.1.0/RealESRGAN_x4plus.pth",),
            "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
            67,
            4,
            "BSD-3-Clause",
            _REAL_PAGE,
            "photos with noise, blur and JPEG",
        ),
        "RealESRNet_x4plus": PublicModel(
            (f"{_REAL}/v0.1.1/RealESRNet_x4plus.pth",),
            "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
            67,
            4,
            "BSD-3-Clause",
            _REAL_PAGE,
            "the same, smoother: its PSNR model",
        ),
        "RealESRGAN_x2plus": PublicModel(
            (f"{_REAL}/v0.2.1/RealESRGAN_x2plus.pth",),
            "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
            67,
            2,
            "BSD-3-Clause",
            _REAL_PAGE,
            "photos with noise, blur and JPEG",
        ),
        "RealESRGAN_x4plus_anime_6B": PublicModel(
            (f"{_REAL}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",),
            "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
            18,
            4,
            "BSD-3-Clause",
            _REAL_PAGE,
            "drawings and anime",
        ),
        "BSRGAN": PublicModel(
            (f"{_KAIR}/BSRGAN.pth",),
            "5d505a0766160921e0388d76e1ddf08cb114303990f9080432bf2b1c988b1c54",
            67,
            4,
            "Apache-2.0",
            "github.com/cszn/BSRGAN",
            "photos with noise, blur and JPEG",
        ),
        "RRDB_ESRGAN_x4": PublicModel(
            (f"{_KAIR}/ESRGAN.pth", f"{_DRIVE}1TPrz5QKd8DHHt1k8SRtm6tMiPjz_Qene"),
            "65fece06e1ccb48853242aa972bdf00ad07a7dd8938d2dcbdf4221b59f6372ce",
            67,
            4,
            "Apache-2.0",
            "github.com/xinntao/ESRGAN",
            "clean photos: the paper's model",
        ),
        "RRDB_PSNR_x4": PublicModel(
            (f"{_DRIVE}1pJ_T-V1dpb1ewoEra1TGSWl5e6H7M4NN",),
            "f372b59f22929e1bc83fa58d78215c96f976de3b2eaeee736da1b348913da6cc",
            67,
            4,
            "Apache-2.0",
            "github.com/xinntao/ESRGAN",
            "clean photos: its PSNR model",
        ),
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
