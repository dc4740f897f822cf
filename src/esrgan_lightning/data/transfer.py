"""One request of a large file: a whole one or the rest of one, with every claim of the server checked."""

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests

from esrgan_lightning.errors import InputError

Progress = Callable[[int, int | None], None]  # (bytes that are there, bytes in all or None)

_CHUNK = 2**18
_REDIRECTS = 10
_SPARE = 2**26  # bytes left free on the disk
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that another try may change


@dataclass(frozen=True)
class Patience:
    """How long a mirror is waited for.

    Attributes:
        connect: Seconds until it must have accepted a connection.
        stall: Seconds without data after which a transfer counts as broken, and the window for ``rate``.
        rate: Bytes per second, over ``stall`` seconds, below which it is the next mirror's turn.
        tries: Attempts in a row that bring nothing new, before the next mirror's turn.
        pause: Seconds before the second attempt; doubled for each further one.
    """

    connect: float = 15
    stall: float = 30
    rate: float = 1024
    tries: int = 4
    pause: float = 1


PATIENT = Patience()


class BrokenError(Exception):
    """This attempt failed; another may not."""


class RefusedError(Exception):
    """This mirror is of no use."""


class Partial:
    """What has arrived of a file, and the address and version that it is of."""

    def __init__(self, target: Path) -> None:
        self.file = target.with_name(f"{target.name}.partial")
        self.note = target.with_name(f"{target.name}.partial.json")
        self.url, self.version, self.total = "", "", None
        try:
            note = json.loads(self.note.read_text("utf-8"))
            self.url, self.version, self.total = str(note["url"]), str(note["version"]), note["total"]
        except (OSError, ValueError, KeyError, TypeError):
            self.url = ""  # no note, or one that was cut short: the bytes are of no use

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.file.stat().st_size if self.file.exists() else 0

    def begin(self, url: str, version: str, total: int | None) -> None:
        """Empties the file, then notes what it will be of: never old bytes under a new note."""
        self.url, self.version, self.total = url, version, total
        self.file.write_bytes(b"")
        self.note.write_text(json.dumps({"url": url, "version": version, "total": total}), "utf-8")

    def drop(self) -> None:
        """Takes the file and its note away."""
        self.url = ""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def attempt(
    url: str, partial: Partial, size: int | None, limit: int, progress: Progress | None, patience: Patience
) -> bool:
    """One request; True where it continued an earlier part, whose bytes may then be at fault."""
    start = partial.size if partial.url == url and partial.version else 0
    if start and start == partial.total:
        return True
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": partial.version}
    with requests.Session() as session, _open(session, url, headers, patience) as answer:
        if answer.status_code == 416:
            partial.drop()
            raise BrokenError("the part that is here does not belong to what the server has")
        if answer.status_code not in (200, 206):
            kind = BrokenError if answer.status_code in _PASSING else RefusedError
            raise kind(f"HTTP {answer.status_code} {answer.reason}")
        continued = answer.status_code == 206
        total = _total(answer, start)
        if continued and (
            not start or total != partial.total or _version(answer) not in ("", partial.version)
        ):
            partial.drop()
            raise BrokenError("the server sent another part than it was asked for")
        if size is not None and total not in (None, size):
            raise RefusedError(f"offers {total} bytes where {size} are expected")
        if total is not None and total > limit:
            raise RefusedError(f"offers {total} bytes, more than the limit of {limit}")
        if not continued:
            partial.begin(url, _version(answer), total)
        _need_room(partial.file.parent, (total or size or 0) - partial.size)
        _receive(answer, partial, total, limit, progress, patience)
    return continued


def _open(
    session: requests.Session, url: str, headers: dict[str, str], patience: Patience
) -> requests.Response:
    """The answer after redirects, each of which must stay on http(s) and not fall back from https to http."""
    for _ in range(_REDIRECTS):
        answer = session.get(
            url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(patience.connect, patience.stall),
        )
        if not answer.is_redirect:
            return answer
        answer.close()
        aim = urljoin(url, answer.headers["Location"])
        before, after = urlsplit(url).scheme, urlsplit(aim).scheme
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            raise RefusedError(f"redirects from {before} to {after}, which is not followed")
        url = aim
    raise RefusedError(f"more than {_REDIRECTS} redirects")


def _receive(
    answer: requests.Response,
    partial: Partial,
    total: int | None,
    limit: int,
    progress: Progress | None,
    patience: Patience,
) -> None:
    held, window, arrived = partial.size, time.monotonic(), 0
    with partial.file.open("ab") as file:
        # `read1` returns what is there: a larger read would wait for the rest of its chunk, however slow.
        while chunk := answer.raw.read1(_CHUNK, decode_content=False):
            held += len(chunk)
            if held > limit:
                raise RefusedError(f"sends more than the limit of {limit} bytes")
            _write(file, chunk, partial.file)
            if progress is not None:
                progress(held, total)
            arrived += len(chunk)
            if (now := time.monotonic()) - window > patience.stall:
                if arrived < patience.rate * (now - window):
                    raise RefusedError(f"is too slow: {arrived} bytes in {now - window:.0f} s")
                window, arrived = now, 0
    if total is not None and held != total:
        raise BrokenError(f"ended after {held} of {total} bytes")


def _write(file: IO[bytes], chunk: bytes, name: Path) -> None:
    try:
        file.write(chunk)
        file.flush()  # what has arrived survives a kill
    except OSError as error:
        raise InputError(f"{name} cannot be written: {error.strerror}; what is there is kept") from error


def _version(answer: requests.Response) -> str:
    """What If-Range may name: a strong ETag, or the date of the last change; "" where there is neither."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _total(answer: requests.Response, start: int) -> int | None:
    """The whole file's length; None where it is not told or a part begins elsewhere than at ``start``."""
    if answer.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        return int(found[2]) if found is not None and int(found[1]) == start else None
    length = answer.headers.get("Content-Length", "")
    # With a transfer encoding the length plays no part (RFC 9112, section 6.3).
    told = re.fullmatch(r"\d{1,18}", length) and not answer.headers.get("Transfer-Encoding")
    return int(length) if told else None


def _need_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted + _SPARE > free:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free and {(wanted + _SPARE) / 1e9:.1f} GB are needed"
        )
