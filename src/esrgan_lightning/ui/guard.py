"""What reaches the page: requests to its own names from its own pages, and uploads up to a quota."""

from collections.abc import MutableMapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LEAST = 2**16  # bytes that a file counts for: a thousand empty ones are something, too
_AT_ONCE = 8  # uploads


@final
class Guard:
    """Refuses what other sites send (also by DNS rebinding), and keeps the temporary files to a quota.

    Args:
        app: Behind it.
        host: That is listened at. A browser calls the page by it or by 127.0.0.1, localhost or ::1; where it
            is every address of the machine, by any address, but no other name.
        folder: Of uploads and results; above the quota the oldest of its files go.
        upload_bytes: Of one request.
        quota: In bytes, of the folder.

    Source:
        RFC 6454 (origins), RFC 9110 section 7.2 (Host).
    """

    def __init__(self, app: ASGIApp, *, host: str, folder: Path, upload_bytes: int, quota: int) -> None:
        self.app, self.folder, self.upload_bytes, self.quota = app, folder, upload_bytes, quota
        self._names = {"127.0.0.1", "localhost", "::1", host.lower()}
        self._any_address = host in ("0.0.0.0", "::", "")
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            answer = PlainTextResponse("This page does not go by that name: start it with --host NAME.", 403)
            await answer(scope, receive, send)
        elif origin is not None and origin.partition("://")[2] != host:
            await PlainTextResponse("This page answers no other site's requests.", 403)(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload"):
            await self._upload(headers, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or (self._any_address and bool(ip_address(name)))
        except ValueError:
            return False

    async def _upload(self, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length[:20]) > self.upload_bytes:
            most = f"{self.upload_bytes / 2**20:.0f} MiB"
            await PlainTextResponse(f"An upload has at most {most}.", 413)(scope, receive, send)
        elif self._uploads >= _AT_ONCE:
            await PlainTextResponse("Too many uploads at once: try again.", 503)(scope, receive, send)
        else:
            self._uploads += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._uploads -= 1
                self._make_room()

    def _make_room(self) -> None:
        sizes: MutableMapping[Path, Any] = {}
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # others delete, too
                if path.is_file():
                    sizes[path] = path.stat()
        total = sum(max(each.st_size, _LEAST) for each in sizes.values())
        for path, status in sorted(sizes.items(), key=lambda item: item[1].st_mtime):
            if total <= self.quota:
                break
            path.unlink(missing_ok=True)
            total -= max(status.st_size, _LEAST)
