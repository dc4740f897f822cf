"""``esrgan serve``: an image by HTTP, its enlargement back. Queue, batches and workers are LitServe's."""

import io
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

import litserve  # type: ignore[import-untyped]
import torch
from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_asgi_app
from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.ops.hosts import OwnHosts
from esrgan_lightning.ops.image import Photo, read_photo

PATH = "/upscale"
#: The form's field that holds the file.
FIELD = "image"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a service takes on."""

    upload: float = 25.0  # of a request, in MB
    queue: int = 64  # requests at a time, those under way among them; more are told to come back (503)
    seconds: float = 120.0  # that a request may wait for its turn (504)


class UpscaleAPI(litserve.LitAPI):  # type: ignore[misc]
    """One worker: reads files, enlarges images of equal size together, writes PNG.

    What is wrong with one request is an answer of its own, never an error of the batch that it came in.

    Args:
        model: As for :class:`~esrgan_lightning.inference.Upscaler`.
        batch: The most images that go through the network at once.
        threads: Of a worker on a processor.
        max_pixels: Of an image.
    """

    def __init__(self, model: str, *, batch: int, threads: int, max_pixels: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=0.01, api_path=PATH)
        self.model, self.threads, self.max_pixels = model, threads, max_pixels

    def setup(self, device: str) -> None:
        """Loads the network, in the worker."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the main process ends the others
        torch.set_num_threads(self.threads)
        self.upscaler = Upscaler(self.model, device=device, pre_pad=8)

    def decode_request(self, request: Request) -> Photo | HTTPException:
        """The form's file as an image, or what is wrong with it; LitServe gives the form for ``Request``."""
        file = request.get(FIELD)
        if not isinstance(file, UploadFile):
            detail = f"send the file as the form's field {FIELD}"
            return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
        try:
            photo = read_photo(io.BytesIO(file.file.read()))
        except InputError as error:
            return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        height, width = photo.pixels.shape[-2:]
        if height * width > self.max_pixels:
            return HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{width}×{height} pixels are more than the {self.max_pixels / 1e6:g} million that are taken",
            )
        return photo

    def batch(self, inputs: Iterable[Any]) -> list[Any]:
        """As they came: images of several sizes are no tensor."""
        return list(inputs)

    def predict(self, photos: list[Photo | HTTPException] | Photo | HTTPException) -> Any:
        """Each image enlarged, those of equal size and kind together."""
        if not isinstance(photos, list):  # with a batch of 1 LitServe makes no list
            return self.predict([photos])[0]
        answers: list[Any] = list(photos)
        alike: dict[Any, list[int]] = {}
        for index, photo in enumerate(photos):
            if isinstance(photo, Photo):
                alike.setdefault((photo.pixels.shape, photo.pixels.dtype), []).append(index)
        for places in alike.values():
            images = [answers[place].pixels for place in places]
            for place, large in zip(places, self.upscaler.upscale_each(images), strict=True):
                if isinstance(large, Exception):
                    message = str(large).partition("\n")[0]
                    answers[place] = HTTPException(HTTPStatus.INTERNAL_SERVER_ERROR, message)
                else:
                    answers[place] = answers[place]._replace(pixels=large)
        return answers

    def unbatch(self, output: list[Any]) -> list[Any]:
        """As they are."""
        return output

    def encode_response(self, output: Photo | HTTPException) -> Response:
        """A PNG, or the error as JSON."""
        if isinstance(output, HTTPException):
            return JSONResponse({"detail": output.detail}, output.status_code)
        return Response(output.encoded(".png"), media_type="image/png")


class Gate:
    """ASGI middleware: counts requests, refuses foreign ones and what is too much, and all at the end."""

    def __init__(
        self, app: ASGIApp, *, hosts: OwnHosts, limits: Limits, active: Any, closing: Any, registry: Any
    ) -> None:
        self.app, self.hosts, self.limits, self.active, self.closing = app, hosts, limits, active, closing
        self.requests = Counter("esrgan_requests", "Answered, by status", ["status"], registry=registry)
        self.seconds = Histogram("esrgan_request_seconds", "From first to last byte", registry=registry)
        gauge = Gauge("esrgan_requests_active", "Being worked on or waiting", registry=registry)
        gauge.set_function(lambda: active.value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through, or answers in its place."""
        if scope["type"] != "lifespan" and (detail := self.hosts.refusal(Headers(scope=scope))):
            await JSONResponse({"detail": detail}, 403)(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self.active:
            self.active.value += 1
        try:
            await self._answer(scope, receive, sent)
        finally:
            with self.active:
                self.active.value -= 1
            self.requests.labels(status).inc()
            self.seconds.observe(time.perf_counter() - start)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None
        headers = dict(scope["headers"])
        if self.closing.value or self.active.value > self.limits.queue:
            refusal = JSONResponse({"detail": "too busy: come back later"}, 503, headers={"Retry-After": "5"})
        elif not headers.get(b"content-length", b"").isdigit():
            refusal = JSONResponse({"detail": "a request without Content-Length is not taken"}, 411)
        elif int(headers[b"content-length"]) > self.limits.upload * 1e6:
            detail = f"more than the {self.limits.upload:g} MB that are taken"
            refusal = JSONResponse({"detail": detail}, 413)
        elif not headers.get(b"content-type", b"").startswith(b"multipart/form-data"):
            refusal = JSONResponse({"detail": f"send a form with the file as {FIELD}"}, 415)
        await (refusal or self.app)(scope, receive, send)


def serve(
    api: UpscaleAPI,
    *,
    limits: Limits,
    hosts: OwnHosts,
    host: Literal["127.0.0.1", "0.0.0.0", "::"] = "127.0.0.1",
    port: int = 8000,
    accelerator: str = "auto",
    devices: int | Literal["auto"] = "auto",
    workers: int = 1,
) -> None:
    """Serves until SIGINT or SIGTERM, and answers what it has taken on; a second signal ends it at once."""
    active, closing = multiprocessing.Value("i", 0), multiprocessing.Value("b", False)
    registry = CollectorRegistry()
    gate = {"hosts": hosts, "limits": limits, "active": active, "closing": closing, "registry": registry}
    server = litserve.LitServer(
        api,
        accelerator=accelerator,
        devices=devices,
        workers_per_device=workers,
        timeout=limits.seconds,
        middlewares=[(Gate, gate)],
        restart_workers=True,
        disable_openapi_url=True,
    )
    server.app.mount("/metrics", make_asgi_app(registry))

    def close(*_: object) -> None:
        if closing.value:
            os._exit(1)
        closing.value = True
        end = time.monotonic() + limits.seconds
        while active.value and time.monotonic() < end:
            time.sleep(0.05)
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, close)
    server.run(host, port, num_api_servers=1, log_level="warning", generate_client_file=False)
