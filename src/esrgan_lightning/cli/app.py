"""``esrgan``: the commands that work on files."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """ESRGAN: upscale photos, blend models, see the whole of it in a demo. Training: esrgan-train."""


@app.command()
def upscale(
    inputs: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="A weight file: .safetensors, .ckpt or .pth.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    tile: Annotated[int | None, typer.Option(help="Side of the LR squares processed one by one.")] = None,
    suffix: Annotated[str, typer.Option(help="Added to each name: STEM<suffix>.png.")] = "",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 … (default: a GPU if any).")] = None,
) -> None:
    """Enlarge images; the results are PNG files of the same names."""
    from esrgan_lightning.cli.upscale import upscale_files

    with one_line_errors("esrgan upscale"):
        failed = upscale_files(inputs, model, output, tile=tile, suffix=suffix, device=device)
    raise typer.Exit(1 if failed else 0)


@app.command()
def interpolate(
    psnr: Annotated[Path, typer.Argument(help="Weights at α = 0, usually of the PSNR stage.")],
    gan: Annotated[Path, typer.Argument(help="Weights at α = 1, usually of the GAN stage.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The blended .safetensors file.")],
    alpha: Annotated[float, typer.Option(help="Share of the second model, 0 to 1.")] = 0.8,
) -> None:
    """Blend two models: θ = (1−α)·θ_PSNR + α·θ_GAN (ESRGAN §3.4)."""
    from esrgan_lightning.weights import interpolate_files

    with one_line_errors("esrgan interpolate"):
        interpolate_files(psnr, gan, alpha, output)
    typer.echo(f"written: {output}")


@app.command()
def demo(
    minutes: Annotated[float, typer.Option(help="Time for both trainings together.")] = 6.0,
    sets_root: Annotated[Path | None, typer.Option(help="Folder with Set5/HR/… to evaluate on.")] = None,
    name: Annotated[str, typer.Option(help="Results go to runs/NAME.")] = "demo",
) -> None:
    """Train both stages on embedded photos, evaluate, blend, and draw the comparison."""
    from esrgan_lightning.cli.demo import run_demo

    with one_line_errors("esrgan demo"):
        run_demo(Path("runs") / name, minutes=minutes, sets_root=sets_root)


def main() -> None:
    """Entry point of the console script."""
    app()
