"""``esrgan metrics``: what the measures need besides images."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import Command
from esrgan_lightning.errors import InputError

app = typer.Typer(no_args_is_help=True, help="What the measures of image quality need besides images.")


@app.callback()
def root() -> None:
    """What the measures of image quality need besides images."""


@app.command("fit-niqe", cls=Command)
def fit(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them: dozens at least.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model, .safetensors.")],
    sharpness: Annotated[
        float, typer.Option(help="Blocks count from this share of their photo's sharpest on.")
    ] = 0.75,
) -> None:
    """Fit NIQE's idea of natural images to photos of your own (Mittal et al. 2013, section II.C)."""
    if output.suffix != ".safetensors":
        raise InputError(f"-o {output}: give a name that ends in .safetensors")
    from esrgan_lightning.metrics.niqe import fit_niqe, save_model
    from esrgan_lightning.ops import image_size, list_images, read_rgb
    from esrgan_lightning.ops.progress import tracked

    files = [file for path in photos for file in (list_images(path) if path.is_dir() else [path])]
    sizes = {file: image_size(file) for file in files}  # of all, before the first is decoded
    large = [file for file, (height, width) in sizes.items() if (height // 96) * (width // 96) >= 2]
    if len(large) < len(sizes):
        typer.echo(f"left out as smaller than 96×192: {len(sizes) - len(large)} of {len(sizes)}", err=True)
    images = (read_rgb(file)[None] for file in tracked(large, "photos"))
    save_model(output, fit_niqe(images, sharpness=sharpness))
    typer.echo(f"written: {output}, of {len(large)} photos")
