"""``esrgan upscale``: the options; the work is in ``cli.upscaling``."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from esrgan_lightning.cli.models import MODEL_HELP, Device, complete_model, existing_model
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.cores import OtherWork, limit_threads

if TYPE_CHECKING:
    from esrgan_lightning.inference.plan import Tile


def upscale(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Images, folders, quoted patterns ('photos/**/*.jpg'), or - for stdin."),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help=f"The model: {MODEL_HELP}, or an ONNX file.",
            autocompletion=complete_model,
        ),
    ] = "gan",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the results, or one's file (default: upscaled)."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            min=1, max=64, help="Of the result, e.g. 2.7: the model, then bicubic (default: the model's)."
        ),
    ] = None,
    format: Annotated[str | None, typer.Option(help="png (default), jpg, webp, tif, bmp or avif.")] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of jpg, webp and avif.")] = None,
    suffix: Annotated[str, typer.Option(help="Added to each name: STEM<suffix>.png.")] = "",
    keep_extension: Annotated[
        bool, typer.Option("--keep-extension", help="Name results a.jpg.png, where a.png lies beside a.jpg.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Make results anew that are there.")] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="A line of JSON for each image is added here.")
    ] = None,
    tile: Annotated[
        str, typer.Option(help="auto, exact, none, or the side of a tile in LR pixels.")
    ] = "auto",
    overlap: Annotated[int, typer.Option(help="LR pixels of surroundings on each side of a tile.")] = 32,
    alpha_rgb: Annotated[
        Literal["fill", "keep"],
        typer.Option(help="Colours under transparency: fill from their neighbours, or keep (textures)."),
    ] = "fill",
    tta: Annotated[
        bool, typer.Option(help="The mean over eight flips and turns: eight times the work.")
    ] = False,
    back_projection: Annotated[
        int, typer.Option(min=0, help="Iterations that make the result agree with its LR when shrunk again.")
    ] = 0,
    pre_pad: Annotated[
        int, typer.Option(min=0, help="Pixels by which the edges are repeated while the network works.")
    ] = 8,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option(help="That the network computes in.")
    ] = "fp32",
    engine: Annotated[
        Literal["torch", "onnx"],
        typer.Option(help="PyTorch, or ONNX Runtime, on a CPU often faster (extra onnx)."),
    ] = "torch",
    maps: Annotated[
        Path | None, typer.Option(help="Folder of `esrgan segment --lr`, for a model that takes maps.")
    ] = None,
    device: Device = None,
    model_scale: Annotated[
        int | None, typer.Option(help="Only for files of other tools that do not tell their scale.")
    ] = None,
) -> None:
    """Enlarge images. What is there already is skipped, so that a stopped run goes on where it stopped."""
    others = OtherWork()  # while torch is loaded
    piped = Path("-") in inputs
    if piped and (len(inputs) > 1 or output not in (None, Path("-"))):
        raise InputError("- reads one image from stdin and writes one to stdout: give it alone, without -o")
    file = existing_model(model, key="--model ", onnx=True)
    from esrgan_lightning.cli.targets import result_suffix, targets

    folder = output or Path("upscaled")
    extension = result_suffix(format, None if piped else folder, quality)
    pairs = [] if piped else targets(inputs, folder, suffix, extension, keep_extension=keep_extension)
    whole = _tile(tile)
    if "OMP_WAIT_POLICY" not in os.environ:
        # Before torch is loaded: beside other work its threads would wait for one another in loops that take
        # the other's core, 10 times the time. This is what libgomp itself takes where it knows of such.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # What is wrong so far is told at once: torch takes seconds.
    from esrgan_lightning.cli.upscaling import Job, map_reader, upscale_files, upscale_stdin
    from esrgan_lightning.inference import Upscaler

    limit_threads(others)
    job = Job(extension, quality=quality, overwrite=overwrite, manifest=manifest)
    job.check(piped)
    settings: dict[str, Any] = {
        "overlap": overlap,
        "tta": tta,
        "precision": precision,
        "engine": engine,
        "back_projection": back_projection,
        "pre_pad": pre_pad,
        "alpha_rgb": alpha_rgb,
    }
    upscaler = Upscaler(
        file,
        device=device,
        tile=whole,
        scale=scale,
        model_scale=model_scale,
        notice=lambda line: typer.echo(f"esrgan upscale: {line}", err=True),
        **settings,
    )
    if upscaler.runner.channels == 1:
        typer.echo("esrgan upscale: a network of gray: pictures in colour go by channels", err=True)
    sources = [source for source, _ in pairs]
    job = replace(job, maps=map_reader(upscaler.generator, maps, inputs, sources, piped=piped))
    about = {"tile": tile, **settings}
    code = upscale_stdin(upscaler, job) if piped else upscale_files(upscaler, pairs, job, file, about)
    raise typer.Exit(code)


def _tile(text: str) -> "Tile":
    known: dict[str, Tile] = {"none": None, "auto": "auto", "exact": "exact"}
    if text in known or text.isdecimal():
        return known[text] if text in known else int(text)
    raise InputError(f"--tile {text} must be auto, exact, none, or a number of LR pixels")
