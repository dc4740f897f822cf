"""Tables on the terminal, as CSV and as Markdown: what stands in a cell is text, whatever it looks like."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    figures: Collection[str] = (),
    whole: Collection[str] = (),
    console: "Console | None" = None,
    **style: Any,
) -> None:
    """Prints rows of strings or ``rich.text.Text``; long ones are folded, never cut.

    ``figures`` are the heads of columns that stand to the right, unbroken, ``whole`` those of others that are
    not broken; ``style`` is of ``rich.table.Table``.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, **style)
    for head in heads:
        justify: Literal["right", "left"] = "right" if head in figures else "left"
        no_wrap = head in figures or head in whole
        table.add_column(Text(head), justify=justify, no_wrap=no_wrap, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    (console or Console()).print(table)


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Full figures, empty for None; a text that a spreadsheet would compute gets an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in (heads, *rows):
        texts = [f"'{cell}" if isinstance(cell, str) and cell[:1] in set("=+-@") else cell for cell in row]
        writer.writerow(texts)
    return file.getvalue()


def markdown(text: object) -> str:
    r"""A text in which nothing is markup, or ends a cell; ``_`` within a word is none.

    >>> markdown("my_set | <b>")
    'my_set \\| \\<b\\>'
    """
    signs = r"[\\`*\[\]<>|#~]|(?<![^\W_])_|_(?![^\W_])"
    return re.sub(signs, r"\\\g<0>", " ".join(str(text).split()))


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, figures: int = 0) -> str:
    """Cells that are Markdown already; the last ``figures`` columns stand to the right."""
    rule = ["---"] * (len(heads) - figures) + ["---:"] * figures
    return "".join(f"| {' | '.join(row)} |\n" for row in [heads, rule, *rows])
