"""``esrgan``: the commands that work on files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import esrgan_lightning
from esrgan_lightning.cli.data import app as data
from esrgan_lightning.cli.doctor import doctor
from esrgan_lightning.cli.errors import Command, print_any_name
from esrgan_lightning.cli.interpolate import alpha_sweep, interpolate
from esrgan_lightning.cli.metrics import app as metrics
from esrgan_lightning.cli.models import convert, export, inspect, models
from esrgan_lightning.cli.runs import push, report, runs
from esrgan_lightning.cli.segment import segment
from esrgan_lightning.cli.serve import serve, ui
from esrgan_lightning.cli.upscale import upscale
from esrgan_lightning.ops.files import with_home


def _version(asked: bool) -> None:
    if asked:
        typer.echo(esrgan_lightning.__version__)
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """ESRGAN: upscale photos, blend models, see the whole of it in a demo. Training: esrgan-train."""


def demo(
    minutes: Annotated[float, typer.Option(help="Time for both trainings together.")] = 5.0,
    sets_root: Annotated[Path | None, typer.Option(help="Folder with Set5/HR/… to evaluate on.")] = None,
    name: Annotated[str, typer.Option(help="Results go to runs/NAME.")] = "demo",
) -> None:
    """Train both stages on embedded photos, evaluate, blend, and draw the comparison."""
    from esrgan_lightning.cli.demo import run_demo

    run_demo(Path("runs") / name, minutes=minutes, sets_root=sets_root)


app = typer.Typer(
    name="esrgan", callback=root, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False
)
app.add_typer(data, name="data")
app.add_typer(metrics, name="metrics")
for command in (
    *(upscale, interpolate, alpha_sweep, models, convert, inspect, export),
    *(push, report, runs, segment, doctor, ui, serve, demo),
):
    app.command(cls=Command)(command)


def main() -> None:
    """Entry point of the console script."""
    print_any_name()
    app(list(map(with_home, sys.argv[1:])), prog_name="esrgan")
