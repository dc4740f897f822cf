"""Large files over HTTP: continued after a break, checked, whole or not there under their name."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import check_room, writing

Progress = Callable[[int, int | None], None]  # (bytes that are there, bytes in all or None)

_CHUNK = 2**18
_PASSING = (408, 416, 425, 429, 500, 502, 503, 504)  # answers that another try may change


@dataclass(frozen=True)
class Patience:
    """How long a mirror is waited for, in seconds."""

    connect: float = 15  # until it must have accepted a connection
    stall: float = 30  # without data, after which a transfer counts as broken
    tries: int = 4  # attempts in a row that bring nothing new, before the next mirror's turn
    pause: float = 1  # before the second attempt; doubled for each further one


PATIENT = Patience()


@dataclass(frozen=True)
class Downloaded:
    """A whole, checked file; ``url`` is None where it lay there already."""

    path: Path
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class Expected:
    """What a file must be: its hashes in hexadecimal, its exact length, the most bytes, another check."""

    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    limit: int = 2**40
    check: Callable[[Path], None] | None = None

    def verify(self, file: Path) -> str:
        """The file's SHA-256; an ``InputError`` where it is another file."""
        length = file.stat().st_size
        if self.size is not None and length != self.size:
            raise InputError(f"{length} bytes where {self.size} are expected")
        digest = _hash(file, "sha256")
        if self.sha256 not in (None, digest):
            raise InputError(f"sha256 {digest} where {self.sha256} is expected")
        if self.md5 is not None and (found := _hash(file, "md5")) != self.md5:
            raise InputError(f"md5 {found} where {self.md5} is expected")
        if self.check is not None:
            self.check(file)
        return digest


ANYTHING = Expected()


class _RefusedError(Exception):
    """This mirror is of no use."""


def download(
    urls: Sequence[str],
    target: Path,
    expected: Expected = ANYTHING,
    *,
    progress: Progress | None = None,
    patience: Patience = PATIENT,
) -> Downloaded:
    """Fetches a file from the first mirror that delivers it; a file that is there is checked and taken.

    What has arrived stays in ``NAME.partial`` when the process ends, and ``NAME.partial.json`` says of which
    address and version it is. A range request (RFC 9110, section 14) continues it while the version is the
    same (``If-Range``, section 13.1.5), else the file starts anew.

    Args:
        urls: The same bytes at several addresses, http or https, in the order in which they are tried; that
            of a partial file goes first.
        target: The file; its folder is made.
        expected: What it must be.
        progress: Called with the bytes that are there and those of the whole.
        patience: Time limits and attempts.

    Raises:
        InputError: The file that is there is a wrong one, the disk is too small, or no mirror delivers.
    """
    if target.exists():
        try:
            return Downloaded(target, expected.verify(target))
        except InputError as error:
            raise InputError(f"{target} is not the right file ({error}): take it away, try again") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, faults = _Partial(target, expected, progress, patience), []
    for url in sorted(urls, key=lambda url: url != partial.url):
        try:
            digest = partial.fetch(url)
        except _RefusedError as error:
            faults.append(f"{url}: {error}")
            continue
        partial.file.replace(target)
        partial.note.unlink(missing_ok=True)
        return Downloaded(target, digest, url)
    reasons = "; ".join(faults) or "no address leads to it"
    raise InputError(
        f"{target.name} could not be had ({reasons}): get it by hand and put it there as {target}"
    )


class _Partial:
    """What has arrived of a file, and the address and version that it is of."""

    def __init__(
        self, target: Path, expected: Expected, progress: Progress | None, patience: Patience
    ) -> None:
        self.expected, self.progress, self.patience = expected, progress, patience
        self.file = target.with_name(f"{target.name}.partial")
        self.note = target.with_name(f"{target.name}.partial.json")
        try:
            note = json.loads(self.note.read_text("utf-8"))
            self.url, self.version = str(note["url"]), str(note["version"])
        except (OSError, ValueError, KeyError, TypeError):
            self.begin("", "")  # no note, or one that was cut short: the bytes are of no use

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.file.stat().st_size if self.file.exists() else 0

    def begin(self, url: str, version: str) -> None:
        """Empties the file, then notes what it will be of: never old bytes under a new note."""
        self.url, self.version = url, version
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        if url:
            self.note.write_text(json.dumps({"url": url, "version": version}), "utf-8")

    def fetch(self, url: str) -> str:
        """Tries one mirror until the file is whole and right, and returns its SHA-256."""
        failed, most = 0, self.size if self.url == url else 0
        while True:
            try:
                continued = self._attempt(url)
                try:
                    return self.expected.verify(self.file)
                except InputError as error:
                    self.begin("", "")
                    if not continued:  # else the earlier part may be at fault: once more from the start
                        raise _RefusedError(str(error)) from error
                    reason = str(error)
            except (requests.RequestException, HTTPError) as error:
                reason = str(error) or type(error).__name__
            # Bytes that are new count as success: a poor line may break a hundred times on the way.
            failed, most = (0, self.size) if self.size > most else (failed + 1, most)
            if failed >= self.patience.tries:
                raise _RefusedError(f"{reason} ({failed} attempts without progress)")
            time.sleep(self.patience.pause * 2 ** max(failed - 1, 0))

    def _attempt(self, url: str) -> bool:
        """One request for the rest; True where there was an earlier part."""
        start = self.size if self.url == url and self.version else 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self.version}
        timeout = (self.patience.connect, self.patience.stall)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            if answer.status_code == 416:
                self.begin("", "")
            if answer.status_code not in (200, 206):
                kind = requests.HTTPError if answer.status_code in _PASSING else _RefusedError
                raise kind(f"HTTP {answer.status_code} {answer.reason}")
            # What If-Range may name: a strong ETag, or the date of the last change.
            etag = answer.headers.get("ETag", "")
            version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
            total = _total(answer, start)
            if answer.status_code == 206 and (
                not start or total is None or version not in ("", self.version)
            ):
                self.begin("", "")
                raise requests.HTTPError("the server sent another part than it was asked for")
            size, limit = self.expected.size, self.expected.limit
            if size is not None and total not in (None, size):
                raise _RefusedError(f"offers {total} bytes where {size} are expected")
            if (total or 0) > limit:
                raise _RefusedError(f"offers {total} bytes, more than the limit of {limit}")
            if answer.status_code == 200:
                start = 0
                self.begin(url, version)
            check_room(self.file, total or size or 0, there=start)
            self._receive(answer, start, total)
        return start > 0

    def _receive(self, answer: requests.Response, held: int, total: int | None) -> None:
        with self.file.open("ab") as file:
            # `read1` returns what is there: a larger read would wait for the rest of its chunk.
            while chunk := answer.raw.read1(_CHUNK, decode_content=False):
                held += len(chunk)
                if held > self.expected.limit:
                    raise _RefusedError(f"sends more than the limit of {self.expected.limit} bytes")
                with writing(self.file, "; what is there is kept"):
                    file.write(chunk)
                    file.flush()  # what has arrived survives a kill
                if self.progress is not None:
                    self.progress(held, total)
        if total is not None and held != total:
            raise requests.ConnectionError(f"ended after {held} of {total} bytes")


def _total(answer: requests.Response, start: int) -> int | None:
    """The whole file's length; None where it is not told or a part begins elsewhere than at ``start``."""
    if answer.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        return int(found[2]) if found is not None and int(found[1]) == start else None
    length = answer.headers.get("Content-Length", "")
    # With a transfer encoding the length plays no part (RFC 9112, section 6.3).
    told = re.fullmatch(r"\d{1,18}", length) and not answer.headers.get("Transfer-Encoding")
    return int(length) if told else None


def _hash(file: Path, kind: str) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
