"""``esrgan models``, ``esrgan inspect`` and ``esrgan convert``: networks by name and files of weights."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from esrgan_lightning.bundled import FOLDER, bundled_names, bundled_weights
from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.weights.formats import format_of
from esrgan_lightning.weights.names import model_names, model_path
from esrgan_lightning.weights.public import PUBLIC, public_file

MODEL_HELP = (
    "a name that `esrgan models` lists, hf:USER/REPO[@REVISION], or a file (.safetensors, .ckpt, .pth)"
)
ALLOWED_HOST_HELP = "A further name that it is called by, as behind a proxy: photos.example.org."
SCALE_HELP = "Only for files of other tools that do not tell their scale (x2 or x3)."
# By the stage, with which a bundled network's name begins.
_USES = {"psnr": "fidelity", "gan": "natural detail"}
_LICENCE = "Apache-2.0"


def complete_model(incomplete: str) -> list[str]:
    """What a shell offers for a model: the names, and the files of this folder.

    Where no name begins so, nothing is: shells then complete paths themselves.
    """
    names = [name for name in model_names() if name.startswith(incomplete)]
    files = sorted(path.name for path in Path().iterdir() if path.name.startswith(incomplete))
    return [*names, *files] if names else []


def existing_model(model: str, *, key: str = "", onnx: bool = False) -> Path:
    """The file that a model argument means, looked at before torch is loaded, which takes seconds.

    Args:
        model: A bundled network's name or a file.
        key: How an error message begins, as ``--model``.
        onnx: Whether an ONNX file will do.

    Raises:
        InputError: There is no such file, or its beginning is that of no file of weights.
    """
    path = model_path(model, key=key)
    if not (onnx and path.suffix.lower() == ".onnx" and path.is_file()):
        format_of(path)
    return path


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """List the models that have a name, which works wherever a model is asked for."""
    from rich.console import Console
    from rich.table import Column, Table

    from esrgan_lightning.weights.description import describe_file

    figures = json.loads((FOLDER / "figures.json").read_text("utf-8"))  # as esrgan-evaluate wrote it
    found = []
    with one_line_errors("esrgan models"):
        for name in bundled_names():
            described = describe_file(bundled_weights(name))
            measured = {sets: _means(rows[name]) for sets, rows in figures.items() if name in rows}
            use = _USES.get(name.partition("_")[0], "")
            found.append({"name": name, "use": use, "licence": _LICENCE, "figures": measured, **described})
    if as_json:
        public = [
            {
                "name": name,
                **model._asdict(),
                "file": str(file) if (file := public_file(name)).exists() else None,
            }
            for name, model in PUBLIC.items()
        ]
        typer.echo(json.dumps([*found, *public], indent=2, ensure_ascii=False))
        return
    table = Table("name", "parameters", "file", "scale", *map(str.capitalize, figures), "for", box=None)
    for row in found:
        table.add_row(
            row["name"],
            f"{row['parameters']:,}",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"x{row['arguments']['scale']}",
            *(_shown(row["figures"].get(sets)) for sets in figures),
            row["use"],
        )
    Console().print(table)
    bicubic = ", ".join(f"{sets.capitalize()} {_shown(rows['bicubic'])}" for sets, rows in figures.items())
    typer.echo("These names work wherever a model is asked for: -m psnr, models=[psnr,gan], init=psnr")
    typer.echo("PSNR-Y in dB (higher is better) / LPIPS (lower is better)")
    typer.echo(f"bicubic: {bicubic}")
    typer.echo(f"licence: {_LICENCE}, as the library\n")
    others = Table(Column("of other projects", no_wrap=True), "download", "scale", "licence", "for", box=None)
    for name, model in PUBLIC.items():
        size = "is there" if public_file(name).exists() else f"{model.megabytes} MB"
        others.add_row(name, size, f"x{model.scale}", model.licence, model.use)
    Console().print(others)
    typer.echo("They are downloaded at first use and held to their SHA-256.")


def _means(row: Mapping[str, Any]) -> dict[str, float]:
    return {metric: value for metric, value in row.items() if metric != "images"}


def _shown(row: Mapping[str, float] | None) -> str:
    return "–" if row is None else f"{row['psnr_y']:.2f} / {row['lpips']:.3f}"


def convert(
    model: Annotated[str, typer.Argument(help=f"The model: {MODEL_HELP}.", autocompletion=complete_model)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    to: Annotated[str, typer.Option("--to", help="safetensors, basicsr, esrgan2018, mmagic or chainner.")],
    scale: Annotated[int | None, typer.Option(help=SCALE_HELP)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Round to float16: half the size.")] = False,
) -> None:
    """Write a generator as other tools read it; the picture stays the same."""
    with one_line_errors("esrgan convert"):
        existing_model(model)
        from esrgan_lightning.weights.conversion import convert_file

        notes = convert_file(model, output, to, scale=scale, overwrite=overwrite, half=half)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"written: {output}")


def inspect(
    model: Annotated[str, typer.Argument(help=f"The model: {MODEL_HELP}.", autocompletion=complete_model)],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    scale: Annotated[int | None, typer.Option(help=SCALE_HELP)] = None,
) -> None:
    """Tell what a file of weights is: layout, network, size, and where it came from."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    with one_line_errors("esrgan inspect"):
        existing_model(model)
        from esrgan_lightning.weights.description import describe_file

        described = describe_file(model, scale=scale)
    if as_json:
        typer.echo(json.dumps(described, indent=2, ensure_ascii=False))
        return
    table = Table.grid(padding=(0, 2))
    for label, value in _rows(described):
        table.add_row(Text(label, style="bold"), Text(value, overflow="fold"))
    Console().print(table)


def _rows(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from esrgan_lightning.weights.description import LAYOUT_NAMES

    arguments = described["arguments"]
    told = "stated in the file" if described["stated"] else "told by the shapes"
    yield "file", f"{described['file']}, {described['bytes'] / 2**20:.1f} MiB"
    yield (
        "layout",
        LAYOUT_NAMES[described["layout"]] + (f", in {described['within']}" if described["within"] else ""),
    )
    yield "network", f"{described['architecture']} ({told})"
    yield (
        "scale",
        f"x{arguments.get('scale')}" + (" after pixel-unshuffle" if arguments.get("unshuffle") else ""),
    )
    for label, key in (
        ("blocks", "num_blocks"),
        ("features", "num_features"),
        ("growth", "growth_channels"),
        ("residual scaling β", "residual_scaling"),
        ("classes", "classes"),
    ):
        if key in arguments:
            yield label, str(arguments[key])
    if "in_channels" in arguments:
        yield "channels", f"{arguments['in_channels']} → {arguments.get('out_channels')}"
    yield "parameters", f"{described['parameters']:,}, {', '.join(described['dtypes'])}"
    yield "sha256", described["sha256"]
    if described["updates"] is not None:
        yield "updates", f"{described['updates']:,}"
    yield from _lines(described["provenance"], "")


def _lines(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                yield from _lines({str(number): item}, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)
