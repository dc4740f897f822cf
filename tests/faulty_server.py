"""An HTTP server on the loopback whose files break in chosen ways; each request is on record."""

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class File:
    """What a path answers. Lists are used up request by request, the last entry stays."""

    data: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    status: list[int] = field(default_factory=lambda: [200])
    cut: list[int | None] = field(default_factory=lambda: [None])  # bytes of the answer, then the line breaks
    stall: bool = False  # at the cut, silence in place of a break
    length: int | None = None  # a Content-Length that is a lie
    chunked: bool = False
    shift: int = 0  # a part that begins elsewhere than it was asked for
    location: str | None = None
    forget: bool = False  # answers a range request with 206 whatever If-Range says


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.files: dict[str, File] = {}
        self.requests: list[tuple[str, str | None]] = []  # (path, Range)
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request, client_address):
        """A client that went away is what many tests are about."""

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def serve(self, name, data, **faults):
        self.files[f"/{name}"] = File(data, **faults)
        return self.url(name)


def used_up(entries):
    return entries.pop(0) if len(entries) > 1 else entries[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Nothing on the tests' output."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        file = self.server.files.get(self.path)
        status = used_up(file.status) if file else 404
        if status != 200:
            self.send_response(status)
            if file and file.location:
                self.send_header("Location", file.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, start = file.data, 0
        same = file.forget or self.headers.get("If-Range") in (None, file.etag, file.modified)
        if asked and file.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + file.shift
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        if file.etag:
            self.send_header("ETag", file.etag)
        if file.modified:
            self.send_header("Last-Modified", file.modified)
        body = data[start:]
        if file.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) if file.length is None else file.length))
        self.end_headers()
        self.send_body(body, file)

    def send_body(self, body, file):
        cut = used_up(file.cut)
        part = body if cut is None else body[:cut]
        if file.chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(part)
        self.wfile.flush()
        if cut is not None and file.stall:
            self.server.over.wait(20)
        if cut is not None or file.length is not None:
            self.close_connection = True


@contextmanager
def running(kind=Server):
    """A server that answers until the end of the block."""
    server = kind()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
