"""``esrgan models``, ``inspect``, ``convert`` and ``export``: networks by name and files of weights."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from esrgan_lightning.bundled import FOLDER, bundled_names, bundled_weights
from esrgan_lightning.ops.formats import format_of
from esrgan_lightning.ops.tables import print_table
from esrgan_lightning.weights.names import PUBLIC, model_names, model_path, public_file

MODEL_HELP = "a name that `esrgan models` lists, hf:USER/REPO, or a file (.safetensors, .ckpt, .pth)"
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


Model = Annotated[str, typer.Argument(help=f"The model: {MODEL_HELP}.", autocompletion=complete_model)]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 … (default: a GPU if any).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Scale = Annotated[
    int | None, typer.Option(help="Only for files of other tools that do not tell their scale (x2 or x3).")
]


def existing_model(model: str, *, key: str = "", onnx: bool = False) -> Path:
    """The file that a model argument means, looked at before torch is loaded, which takes seconds.

    An error begins with ``key``, as ``--model``.
    """
    path = model_path(model, key=key)
    if not (onnx and path.suffix.lower() == ".onnx" and path.is_file()):
        format_of(path)
    return path


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """List the models that have a name, which works wherever a model is asked for."""
    from esrgan_lightning.weights.checkpoint import describe_file

    figures = json.loads((FOLDER / "figures.json").read_text("utf-8"))  # as esrgan-evaluate wrote it
    found = []
    for name in bundled_names():
        measured = {
            sets: {metric: value for metric, value in rows[name].items() if metric != "images"}
            for sets, rows in figures.items()
            if name in rows
        }
        use = _USES.get(name.partition("_")[0], "")
        about = {"name": name, "use": use, "licence": _LICENCE, "figures": measured}
        found.append(about | describe_file(bundled_weights(name)))
    public = [
        {"name": name, **model._asdict(), "file": str(file) if (file := public_file(name)).exists() else None}
        for name, model in PUBLIC.items()
    ]
    if as_json:
        typer.echo(json.dumps([*found, *public], indent=2, ensure_ascii=False))
        return
    rows = [
        (
            row["name"],
            f"{row['parameters']:,}",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"x{row['arguments']['scale']}",
            *(_shown(row["figures"].get(sets)) for sets in figures),
            row["use"],
        )
        for row in found
    ]
    sets = [name.capitalize() for name in figures]
    print_table(["name", "parameters", "file", "scale", *sets, "for"], rows, box=None)
    bicubic = (f"{name.capitalize()} {_shown(rows['bicubic'])}" for name, rows in figures.items())
    typer.echo(
        "These names work wherever a model is asked for: -m psnr, models=[psnr,gan], init=psnr\n"
        "PSNR-Y in dB (higher is better) / LPIPS (lower is better)\n"
        f"bicubic: {', '.join(bicubic)}\nlicence: {_LICENCE}, as the library\n"
    )
    others = [
        (
            each["name"],
            "is there" if each["file"] else f"{each['megabytes']} MB",
            f"x{each['scale']}",
            each["licence"],
            each["use"],
        )
        for each in public
    ]
    heads = ["of other projects", "download", "scale", "licence", "for"]
    print_table(heads, others, whole=heads[:1], box=None)
    typer.echo("They are downloaded at first use and held to their SHA-256.")


def _shown(row: Mapping[str, float] | None) -> str:
    return "–" if row is None else f"{row['psnr_y']:.2f} / {row['lpips']:.3f}"


def convert(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    to: Annotated[str, typer.Option("--to", help="safetensors, basicsr, esrgan2018, mmagic or chainner.")],
    scale: Scale = None,
    overwrite: Overwrite = False,
    half: Annotated[bool, typer.Option("--half", help="Round to float16: half the size.")] = False,
) -> None:
    """Write a generator as other tools read it; the picture stays the same."""
    existing_model(model)
    from esrgan_lightning.weights.conversion import convert_file

    notes = convert_file(model, output, to, scale=scale, overwrite=overwrite, half=half)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"written: {output}")


def export(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Ends in .onnx, .pt2, .ts or (ncnn) .param.")
    ],
    half: Annotated[bool, typer.Option("--half", help="Half the size: float16 inside.")] = False,
    opset: Annotated[int, typer.Option(help="Of ONNX.")] = 18,
    check: Annotated[bool, typer.Option(help="Run the result, and compare it with PyTorch.")] = True,
    overwrite: Overwrite = False,
    scale: Scale = None,
) -> None:
    """Write a model for other programs: ONNX, torch.export, TorchScript or ncnn."""
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


def inspect(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    scale: Scale = None,
) -> None:
    """Tell what a file of weights is: layout, network, size, and where it came from."""
    existing_model(model)
    from esrgan_lightning.weights.checkpoint import describe_file

    described = describe_file(model, scale=scale)
    if as_json:
        typer.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        print_table(["", ""], _rows(described), box=None, show_header=False, padding=(0, 2, 0, 0))


def _rows(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from esrgan_lightning.weights.checkpoint import LAYOUT_NAMES

    arguments = described["arguments"]
    told = "stated in the file" if described["stated"] else "told by the shapes"
    within = f", in {described['within']}" if described["within"] else ""
    yield "file", f"{described['file']}, {described['bytes'] / 2**20:.1f} MiB"
    yield "layout", f"{LAYOUT_NAMES[described['layout']]}{within}"
    yield "network", f"{described['architecture']} ({told})"
    yield "scale", f"x{arguments.get('scale')}" + " after pixel-unshuffle" * bool(arguments.get("unshuffle"))
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
    yield from _lines({key: value for key, value in described["provenance"].items() if key != "updates"}, "")


def _lines(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """A line for each value, but one for all that an ancestor's own provenance says: ``--json`` has it."""
    from esrgan_lightning.weights.interpolation import ancestors

    for key, value in node.items():
        if prefix and key == "metadata":
            if earlier := [str(each.get("file")) for each in ancestors(value)]:
                yield f"{prefix}trained from", " ← ".join(earlier)
            continue
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)
