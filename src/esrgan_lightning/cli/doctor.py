"""``esrgan doctor``: is this machine ready, and what is to be mended?"""

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Tell versions, devices, precision, room and weights; exit with 1 if something is to be mended."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from esrgan_lightning.cli.checks import findings

    report = findings(Path.cwd())
    ills = [finding for part in report.values() for finding in part if finding.mend]
    if as_json:
        content = {title: [each._asdict() for each in part] for title, part in report.items()}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        table = Table.grid(padding=(0, 2))
        for title, part in report.items():
            table.add_row(Text(title, style="bold"))
            for what, found, mend in part:
                table.add_row(f"  {what}", Text(found, overflow="fold", style="red" if mend else ""))
        Console().print(table)
        typer.echo()
        for what, _, mend in ills:
            typer.echo(f"to mend: {what}: {mend}")
        if not ills:
            typer.echo("nothing to mend")
    if ills:
        raise typer.Exit(1)
