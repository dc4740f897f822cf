"""Large files over HTTP: continued after a break, checked, whole or not there under their name."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from esrgan_lightning.data.transfer import (
    PATIENT,
    BrokenError,
    Partial,
    Patience,
    Progress,
    RefusedError,
    attempt,
)
from esrgan_lightning.errors import InputError


@dataclass(frozen=True)
class Downloaded:
    """A whole, checked file; ``url`` is None where it lay there already."""

    path: Path
    sha256: str
    url: str | None = None


def download(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    limit: int = 2**40,
    check: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
    patience: Patience = PATIENT,
) -> Downloaded:
    """Fetches a file from the first mirror that delivers it; a file that is there is checked and taken.

    What has arrived stays in ``NAME.partial`` when the process ends, and ``NAME.partial.json`` says of which
    address and version it is. It is continued by a range request (RFC 9110, section 14) that holds only while
    the version is the same (``If-Range``, section 13.1.5), else the file starts anew.

    Args:
        urls: The same bytes at several addresses, http or https, in the order in which they are tried; that
            of a partial file goes first.
        target: The file; its folder is made.
        sha256: What the file must hash to, in hexadecimal.
        md5: The same for the older hash; it tells damage, not malice.
        size: Its exact length in bytes.
        limit: The most bytes that are accepted.
        check: Raises ``InputError`` for a file that is not what it should be.
        progress: Called with the bytes that are there and those of the whole.
        patience: Time limits and attempts.

    Returns:
        The file with its SHA-256 and the address that it came from.

    Raises:
        InputError: The file that is there is a wrong one, the disk is too small, or no mirror delivers; the
            message tells what each said and which file to put where by hand.
    """

    def verify(file: Path) -> str:
        length = file.stat().st_size
        if size is not None and length != size:
            raise InputError(f"{length} bytes where {size} are expected")
        digest = _hash(file, "sha256")
        for kind, wanted in (("sha256", sha256), ("md5", md5)):
            found = digest if kind == "sha256" or wanted is None else _hash(file, kind)
            if wanted is not None and found != wanted:
                raise InputError(f"{kind} {found} where {wanted} is expected")
        if check is not None:
            check(file)
        return digest

    if target.exists():
        try:
            return Downloaded(target, verify(target))
        except InputError as error:
            raise InputError(
                f"{target} is not the right file ({error}): take it away and try again"
            ) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Partial(target)
    faults = []
    for url in sorted(urls, key=lambda url: url != partial.url):
        try:
            digest = _from_mirror(url, partial, size, limit, verify, progress, patience)
        except RefusedError as error:
            faults.append(f"{url}: {error}")
            continue
        partial.file.replace(target)
        partial.note.unlink(missing_ok=True)
        return Downloaded(target, digest, url)
    reasons = "; ".join(faults) or "no address leads to it"
    raise InputError(
        f"{target.name} could not be had ({reasons}): get it by hand and put it there as {target}"
    )


def _from_mirror(
    url: str,
    partial: Partial,
    size: int | None,
    limit: int,
    verify: Callable[[Path], str],
    progress: Progress | None,
    patience: Patience,
) -> str:
    """Tries until the partial file is whole and right, and returns its SHA-256."""
    failed, most = 0, partial.size if partial.url == url else 0
    while True:
        try:
            continued = attempt(url, partial, size, limit, progress, patience)
        except (BrokenError, requests.RequestException, HTTPError) as error:
            reason = str(error) or type(error).__name__
        else:
            try:
                return verify(partial.file)
            except InputError as error:
                partial.drop()
                if not continued:
                    raise RefusedError(str(error)) from error
                reason = str(error)
        # Bytes that are new count as success: a poor line may break a hundred times on the way.
        failed, most = (0, partial.size) if partial.size > most else (failed + 1, most)
        if failed >= patience.tries:
            raise RefusedError(f"{reason} ({failed} attempts without progress)")
        time.sleep(patience.pause * 2 ** max(failed - 1, 0))


def _hash(file: Path, kind: str) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
