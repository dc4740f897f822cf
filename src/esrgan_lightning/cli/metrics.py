"""``esrgan metrics``: what the measures need besides images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

app = typer.Typer(no_args_is_help=True, help="What the measures of image quality need besides images.")


@app.callback()
def root() -> None:
    """What the measures of image quality need besides images."""


@app.command("fit-niqe")
def fit(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them: dozens at least.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model, .safetensors.")],
    sharpness: Annotated[
        float, typer.Option(help="Blocks count from this share of their photo's sharpest on.")
    ] = 0.75,
) -> None:
    """Fit NIQE's idea of natural images to photos of your own (Mittal et al. 2013, section II.C)."""
    from esrgan_lightning.metrics.niqe import fit_niqe
    from esrgan_lightning.metrics.niqe_model import save_model

    with one_line_errors("esrgan metrics fit-niqe"):
        if output.suffix != ".safetensors":
            raise InputError(f"-o {output}: give a name that ends in .safetensors")
        files = _large_enough(photos)
        save_model(output, fit_niqe(_read(files), sharpness=sharpness))
    typer.echo(f"written: {output}, of {len(files)} photos")


def _large_enough(photos: Sequence[Path]) -> list[Path]:
    """The files, found before the first is decoded; those too small for two blocks are left out, and told."""
    from esrgan_lightning.ops import image_size, list_images

    files = [file for path in photos for file in (list_images(path) if path.is_dir() else [path])]
    sizes = {file: image_size(file) for file in files}
    large = [file for file, (height, width) in sizes.items() if (height // 96) * (width // 96) >= 2]
    if len(large) < len(sizes):
        typer.echo(f"left out as smaller than 96×192: {len(sizes) - len(large)} of {len(sizes)}", err=True)
    return large


def _read(files: Sequence[Path]) -> "Iterator[Tensor]":
    from rich.console import Console
    from rich.progress import track

    from esrgan_lightning.ops import read_rgb

    console = Console(stderr=True)
    for file in track(files, "photos", console=console, disable=not console.is_terminal, transient=True):
        yield read_rgb(file)[None]
