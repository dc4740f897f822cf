"""How far long work is: bars on a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


#: Of what, how much is done, of how much (None where that is not known), "bytes" or "images".
Report = Callable[[str, int, int | None, str], None]


@contextmanager
def bars() -> Iterator[Report]:
    """A function that draws a bar for each thing that is reported on, where standard error is a terminal."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None, unit: str) -> None:
            numbers = [done] if total is None else [done, total]
            amount = " of ".join(decimal(number) if unit == "bytes" else str(number) for number in numbers)
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, amount=amount)
            progress.update(tasks[what], completed=done, total=total, amount=amount)

        yield report


def tracked(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """The items, with a bar that goes when all are done, where both outputs are a terminal.

    rich sends either of them through its terminal: a file would get less than it should.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = console.is_terminal and sys.stdout.isatty()
    return track(items, what, total, console=console, disable=not shown, transient=True)
