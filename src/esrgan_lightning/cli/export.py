"""``esrgan export``: a model as a file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.cli.models import MODEL_HELP, complete_model, existing_model


def export(
    model: Annotated[str, typer.Argument(help=f"The model: {MODEL_HELP}.", autocompletion=complete_model)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Ends in .onnx, .pt2, .ts or (ncnn) .param.")
    ],
    half: Annotated[bool, typer.Option("--half", help="Half the size: float16 inside.")] = False,
    opset: Annotated[int, typer.Option(help="Of ONNX.")] = 18,
    check: Annotated[bool, typer.Option(help="Run the result, and compare it with PyTorch.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    scale: Annotated[
        int | None, typer.Option(help="Only for files of other tools that do not tell their scale.")
    ] = None,
) -> None:
    """Write a model for other programs: ONNX, torch.export, TorchScript or ncnn."""
    with one_line_errors("esrgan export"):
        existing_model(model)
        from esrgan_lightning.export import export_generator
        from esrgan_lightning.weights import load_generator, read_generator_file

        done = export_generator(
            load_generator(model, scale=scale),
            output,
            half=half,
            opset=opset,
            check=check,
            overwrite=overwrite,
            provenance=read_generator_file(model).metadata,
        )
    size = sum(file.stat().st_size for file in done.files)
    told = "not compared with PyTorch"
    if done.difference is not None:
        told = f"at most {done.difference:.1g} from PyTorch ({done.allowed:g} allowed)"
    typer.echo(f"written: {', '.join(map(str, done.files))}: {done.format}, {size / 1e6:.1f} MB, {told}")
