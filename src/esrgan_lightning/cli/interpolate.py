"""``esrgan interpolate`` and ``esrgan alpha-sweep``: what lies between models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.models import MODEL_HELP, Device, Scale, complete_model, existing_model
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import writing
from esrgan_lightning.ops.tables import print_table


def interpolate(
    models: Annotated[
        list[str],
        typer.Argument(
            help=f"Two models, at α = 0 (PSNR) and 1 (GAN), or several with --weights; each {MODEL_HELP}.",
            autocompletion=complete_model,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The blended .safetensors file.")],
    alpha: Annotated[
        float | None, typer.Option(help="Share of the second model, 0 to 1 (default: 0.8).")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="A share for each model, as 0.5,0.3,0.2.")] = None,
    scale: Scale = None,
) -> None:
    """Blend models: θ = (1−α)·θ_PSNR + α·θ_GAN (ESRGAN §3.4), or Σ w·θ of several."""
    files = [existing_model(model) for model in models]
    from esrgan_lightning.weights.interpolation import ancestry_warning, blend_files, interpolate_files

    if output.resolve() in (file.resolve() for file in files):
        raise InputError(f"{output} is one of the models: choose another name with -o")
    if weights is None and len(models) != 2:
        raise InputError(f"{len(models)} models: --alpha blends two; give --weights for another number")
    if weights is not None and alpha is not None:
        raise InputError("--alpha and --weights say the same: give one of them")
    with writing(output):
        if weights is not None:
            blend_files(files, numbers(weights, "--weights"), output, scale=scale)
        else:
            share = 0.8 if alpha is None else alpha
            written = interpolate_files(files[0], files[1], share, output, scale=scale)
            if warning := ancestry_warning(*written["interpolation"]["parents"]):
                typer.echo(f"esrgan interpolate: warning: {warning}", err=True)
    typer.echo(f"written: {output}")


def alpha_sweep(
    psnr: Annotated[
        str, typer.Argument(help=f"The model at α = 0: {MODEL_HELP}.", autocompletion=complete_model)
    ],
    gan: Annotated[str, typer.Argument(help="The model at α = 1, likewise.", autocompletion=complete_model)],
    images: Annotated[list[Path], typer.Argument(help="HR images, or folders; their LR is made from them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    alphas: Annotated[str, typer.Option(help="Values of α, or FIRST:LAST:STEP.")] = "0:1:0.2",
    metrics: Annotated[str, typer.Option(help="Names as of esrgan-evaluate.")] = "psnr_y,ssim_y",
    features: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=FILE: ImageNet features for lpips_vgg, dists … (default: a download)."),
    ] = None,
    device: Device = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of the squares processed one by one, LR pixels.")
    ] = None,
    scale: Scale = None,
) -> None:
    """Show what lies between two models: a strip of pictures, curves, an animation, figures."""
    values, names = steps(alphas), [name.strip() for name in metrics.split(",")]
    ends = [existing_model(psnr), existing_model(gan)]
    from esrgan_lightning.evaluation import write_json
    from esrgan_lightning.evaluation.alpha_sweep import alpha_sweep as sweep_over
    from esrgan_lightning.evaluation.alpha_sweep import animation, curves, strip
    from esrgan_lightning.evaluation.sets import TestPair
    from esrgan_lightning.ops import list_images, write_image
    from esrgan_lightning.ops.files import write_whole
    from esrgan_lightning.weights.interpolation import ancestry_warning, load_compatible

    files = [file for path in images for file in (list_images(path) if path.is_dir() else [path])]
    (first, second), spec, parents = load_compatible(ends, scale=scale)
    if warning := ancestry_warning(*parents):
        typer.echo(f"esrgan alpha-sweep: warning: {warning}", err=True)
    pairs = [TestPair(file, None, str(file)) for file in files]
    found = sweep_over(
        (first, second),
        spec,
        pairs,
        alphas=values,
        metrics=names,
        device=device,
        tile=tile,
        weights=named_files(features or []),
    )
    title = f"{ends[0].name} → {ends[1].name}, {len(files)} images"
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        write_image(output / "strip.png", strip(found))
        write_whole(output / "curves.png", curves(found, title))
        for kind in ("gif", "webp"):
            write_whole(output / f"sweep.{kind}", animation(found, kind.upper()))
    kinds = {"network_interpolation": found.values, "image_interpolation": found.mixed_values}
    write_json(output / "sweep.json", {"models": [psnr, gan], "alphas": found.alphas, **kinds})
    figures = [[f"{value:.4f}" for value in row] for row in zip(*found.values.values(), strict=True)]
    rows = [[f"{alpha:g}", *row] for alpha, row in zip(found.alphas, figures, strict=True)]
    print_table(["α", *found.values], rows)
    typer.echo(f"written: {output}/strip.png, curves.png, sweep.gif, sweep.webp, sweep.json")


def numbers(text: str, option: str) -> list[float]:
    """``0.5,0.3,0.2`` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: give numbers with commas between, as 0.5,0.3,0.2") from None


def named_files(texts: Sequence[str]) -> dict[str, Path]:
    """``lpips=FILE`` as a map."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (name, _, file) in zip(texts, pairs, strict=True) if not (name and file)]:
        raise InputError(f"--features {wrong[0]}: give METRIC=FILE, as lpips=alexnet.safetensors")
    return {name: Path(file) for name, _, file in pairs}


def steps(text: str) -> list[float]:
    """``0,0.5,1`` or ``0:1:0.25`` as numbers, the end included, 101 at most.

    >>> steps("0:1:0.25")
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if ":" not in text:
        return numbers(text, "--alphas")
    try:
        start, end, step = (float(part) for part in text.split(":"))
        count = round((end - start) / step)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(
            f"--alphas {text}: give FIRST:LAST:STEP, as 0:1:0.2, or values with commas"
        ) from None
    if not 0 < count <= 100:
        raise InputError(f"--alphas {text}: that is {count} steps, 1 to 100 are possible")
    return [round(start + index * step, 10) for index in range(count + 1)]
