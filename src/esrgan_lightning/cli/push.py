"""``esrgan push``: a run's model goes to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors


def push(
    run: Annotated[Path, typer.Argument(help="The folder of a run, as runs/NAME.")],
    to: Annotated[str, typer.Option("--to", help="USER/REPO on the Hub; made if it is not there.")],
    licence: Annotated[
        str | None, typer.Option(help="Of the model, as the Hub writes it: apache-2.0, cc-by-nc-4.0, other.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="For you alone; a public repository is refused.")
    ] = False,
    picture: Annotated[bool, typer.Option(help="With the newest sample, crops of validation photos.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the card; send nothing.")] = False,
) -> None:
    """Upload a run's generator with its settings and a model card: whole, in one commit."""
    with one_line_errors("esrgan push"):
        from esrgan_lightning.report.card import run_files
        from esrgan_lightning.weights.hub import check_repo, push_hub

        check_repo(to)
        files = run_files(run, to, licence=licence, picture=picture)
        if dry_run:
            typer.echo(files["README.md"].decode())
        else:
            typer.echo(f"{', '.join(files)}: {push_hub(to, files, private=private)}")
        if licence is None:
            typer.echo("note: the card says license: unknown; --licence apache-2.0 states one", err=True)
