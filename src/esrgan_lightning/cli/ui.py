"""``esrgan ui``."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.cli.models import ALLOWED_HOST_HELP, MODEL_HELP, complete_model, existing_model


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
    allowed_host: Annotated[list[str] | None, typer.Option(help=ALLOWED_HOST_HELP)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 … (default: a GPU if any).")] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page.")] = False,
) -> None:
    """Serve a page on this machine: enlarge photos, move α, follow a run."""
    with one_line_errors("esrgan ui"):
        ends = existing_model(psnr, key="--psnr "), existing_model(gan, key="--gan ")
        from esrgan_lightning.data.sources import HELD_OUT_PHOTOS, embedded_photos
        from esrgan_lightning.inference import NetworkPair
        from esrgan_lightning.ui.server import serve

        pair = NetworkPair.read(*ends, device=device, keep=8, pre_pad=8)
        if host not in ("127.0.0.1", "localhost", "::1"):
            typer.echo(
                f"esrgan ui: --host {host} lets others use this machine: there is no password", err=True
            )
        examples = {photo.hr.stem: photo.hr for photo in embedded_photos(HELD_OUT_PHOTOS)}
        typer.echo("Starting …")
        serve(
            pair,
            runs=runs,
            examples=examples,
            host=host,
            port=port,
            allowed_hosts=allowed_host or (),
            browser=browser,
            ready=lambda address: typer.echo(f"Page: {address} (Ctrl-C ends it)"),
        )
