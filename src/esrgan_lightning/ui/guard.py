"""What reaches the page: requests to its own names from its own pages, and uploads up to a quota."""

from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from esrgan_lightning.ops.hosts import OwnHosts

_LEAST = 2**16  # bytes that a file counts for: a thousand empty ones are something, too
_AT_ONCE = 8  # uploads


@final
class Guard:
    """Refuses what other sites send (also by DNS rebinding), and keeps the temporary files to a quota.

    Args:
        app: Behind it.
        hosts: That may ask, and from whose pages.
        folder: Of uploads and results; above the quota the oldest of its files go.
        upload_bytes: Of one request.
        quota: In bytes, of the folder.
    """

    def __init__(self, app: ASGIApp, *, hosts: OwnHosts, folder: Path, upload_bytes: int, quota: int) -> None:
        self.app, self.hosts, self.folder = app, hosts, folder
        self.upload_bytes, self.quota = upload_bytes, quota
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif refusal := self.hosts.refusal(headers := Headers(scope=scope)):
            await PlainTextResponse(refusal, 403)(scope, receive, send)
        elif scope.get("method") == "POST" and scope["path"].rstrip("/").endswith("/upload"):
            await self._upload(headers, scope, receive, send)
        else:
            await self.app(scope, receive, send)

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
