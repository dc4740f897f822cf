"""``esrgan ui`` and ``esrgan serve``: a page for people, and images by HTTP for programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.models import MODEL_HELP, Device, complete_model, existing_model
from esrgan_lightning.errors import needs_extra
from esrgan_lightning.ops.hosts import OwnHosts
from esrgan_lightning.weights.names import model_path

AllowedHost = Annotated[
    list[str] | None,
    typer.Option(help="A further name that it is called by, as behind a proxy: photos.example.org."),
]


class Host(StrEnum):
    """Where LitServe can listen."""

    OWN = "127.0.0.1"
    ALL = "0.0.0.0"
    ALL_6 = "::"


def serve(
    model: Annotated[
        str, typer.Option("-m", "--model", help=f"{MODEL_HELP}.", autocompletion=complete_model)
    ] = "gan",
    host: Annotated[Host, typer.Option(help="Address to listen at: this machine alone, or all.")] = Host.OWN,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port to listen at.")] = 8000,
    allowed_host: AllowedHost = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes on each device.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int | None, typer.Option(min=1, help="How many GPUs (default: all).")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of equal size that go together.")] = 8,
    max_pixels: Annotated[float, typer.Option(help="Largest image, in millions of pixels.")] = 4.0,
    max_upload: Annotated[float, typer.Option(help="Largest request, in MB.")] = 25.0,
    queue: Annotated[int, typer.Option(min=1, help="Requests at a time; more get 503.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds a request may wait; then it gets 504.")] = 120.0,
) -> None:
    """Serve a network by HTTP: POST an image to /upscale, get a PNG."""
    hosts = OwnHosts(host.value, allowed_host or ())
    path = model_path(model, key="-m ")
    try:
        from esrgan_lightning.service import Limits, UpscaleAPI
        from esrgan_lightning.service import serve as run
    except ImportError as error:
        raise needs_extra("esrgan serve needs", "serve") from error
    import torch

    from esrgan_lightning.inference import Upscaler

    Upscaler(path, device="cpu")  # what is wrong with it is told here, in one line
    threads = max(1, torch.get_num_threads() // workers)
    api = UpscaleAPI(str(path), batch=batch, threads=threads, max_pixels=int(max_pixels * 1e6))
    limits = Limits(upload=max_upload, queue=queue, seconds=timeout)
    typer.echo(f"POST images to http://{host.value}:{port}/upscale (Ctrl-C ends it)", err=True)
    run(
        api,
        limits=limits,
        hosts=hosts,
        host=host.value,
        port=port,
        accelerator=device,
        devices=devices or "auto",
        workers=workers,
    )


def ui(
    psnr: Annotated[
        str, typer.Option(help=f"PSNR network, at α = 0: {MODEL_HELP}.", autocompletion=complete_model)
    ] = "psnr",
    gan: Annotated[
        str, typer.Option(help=f"GAN network, at α = 1: {MODEL_HELP}.", autocompletion=complete_model)
    ] = "gan",
    runs: Annotated[Path, typer.Option(help="Folder of the runs to follow.")] = Path("runs"),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 7860,
    allowed_host: AllowedHost = None,
    device: Device = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page.")] = False,
) -> None:
    """Serve a page on this machine: enlarge photos, move α, follow a run."""
    ends = existing_model(psnr, key="--psnr "), existing_model(gan, key="--gan ")
    from esrgan_lightning.data.sources import HELD_OUT_PHOTOS, embedded_photos
    from esrgan_lightning.inference import NetworkPair
    from esrgan_lightning.ui.server import serve as run

    pair = NetworkPair.read(*ends, device=device, keep=8, pre_pad=8)
    if host not in ("127.0.0.1", "localhost", "::1"):
        typer.echo(f"esrgan ui: --host {host} lets others use this machine: there is no password", err=True)
    examples = {photo.hr.stem: photo.hr for photo in embedded_photos(HELD_OUT_PHOTOS)}
    typer.echo("Starting …")
    run(
        pair,
        runs=runs,
        examples=examples,
        host=host,
        port=port,
        allowed_hosts=allowed_host or (),
        browser=browser,
        ready=lambda address: typer.echo(f"Page: {address} (Ctrl-C ends it)"),
    )
