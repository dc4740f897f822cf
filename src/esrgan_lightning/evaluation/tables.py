"""Results on the terminal, as CSV, Markdown, LaTeX, JSON and a page, each with what its figures mean."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.gallery import WHOLE, Gallery
from esrgan_lightning.metrics.measures import METRICS, convention
from esrgan_lightning.ops import tables
from esrgan_lightning.ops.files import write_text
from esrgan_lightning.ops.html import html_document
from esrgan_lightning.ops.tables import markdown

if TYPE_CHECKING:
    from rich.console import Console

#: Of a figure among those of other models: the best, the one after it, any other.
PLAIN, SECOND, BEST = "", "second", "best"

_MARKDOWN = MappingProxyType({PLAIN: "{}", SECOND: "<u>{}</u>", BEST: "**{}**"})
_LATEX = MappingProxyType({PLAIN: "{}", SECOND: r"\underline{{{}}}", BEST: r"\textbf{{{}}}"})
_LATEX_SIGNS = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)


class Cell(NamedTuple):
    """A figure as it is printed, and how it stands among the models."""

    metric: str
    text: str
    rank: str  # PLAIN, SECOND or BEST


def shown(value: float, metric: str) -> str:
    """A figure as tables print it, with a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.{METRICS[metric].digits}f}"


def counted(images: int) -> str:
    """``mean of 5 images``."""
    return "1 image" if images == 1 else f"mean of {images} images"


def ranks(values: Iterable[float], metric: str) -> list[str]:
    """``BEST``, ``SECOND`` or ``PLAIN`` for each, by what is printed: equals share a rank.

    Where all are equal, or there is only one, none stands out.
    """
    printed = [shown(value, metric) for value in values]
    figures = {float(text) for text in printed if text != "–"}
    order = sorted(figures, reverse=METRICS[metric].higher_is_better)
    by_text = dict(zip(order, (BEST, SECOND), strict=False)) if len(order) > 1 else {}
    return [PLAIN if text == "–" else by_text.get(float(text), PLAIN) for text in printed]


def ranked(rows: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, list[Cell]]:
    """Each model's figures, in the order of the metrics."""
    columns = {metric: ranks([row[metric] for row in rows.values()], metric) for metric in metrics}
    return {
        name: [Cell(metric, shown(row[metric], metric), columns[metric][index]) for metric in metrics]
        for index, (name, row) in enumerate(rows.items())
    }


def print_table(
    results: Results, metrics: Sequence[str], *, scale: int, console: "Console | None" = None
) -> None:
    """Prints a table of means for each set, and under them what the figures mean."""
    from rich.console import Console

    console = console or Console()
    for set_name, rows in results.items():
        title = f"{set_name} x{scale}, {counted(len(next(iter(rows.values()))['images']))}"
        body = [[name, *(f"{row[m]:.{METRICS[m].digits}f}" for m in metrics)] for name, row in rows.items()]
        tables.print_table(["model", *metrics], body, title=title, figures=metrics, console=console)
    console.print(convention(metrics), style="dim", markup=False, highlight=False)


def csv_table(results: Results, metrics: Sequence[str]) -> str:
    """A row for each set, model and image, ``mean`` in place of the image at the end; full digits.

    The last line, which begins with #, says what the figures mean.
    """
    rows = [
        [set_name, model, image, *(values[metric] for metric in metrics)]
        for set_name, by_model in results.items()
        for model, row in by_model.items()
        for image, values in [*row["images"].items(), ("mean", row)]
    ]
    return f"{tables.csv_text(['set', 'model', 'image', *metrics], rows)}# {convention(metrics)}\n"


def markdown_table(results: Results, metrics: Sequence[str], *, scale: int) -> str:
    """The means of each set, best in bold and second underlined, then each metric image by image."""
    blocks = []
    for set_name, by_model in results.items():
        names = [markdown(name) for name in by_model]
        images = next(iter(by_model.values()))["images"]
        means = [
            [name, *(_MARKDOWN[cell.rank].format(cell.text) for cell in cells)]
            for name, cells in zip(names, ranked(by_model, metrics).values(), strict=True)
        ]
        blocks.append(f"## {markdown(set_name)} ×{scale}, {counted(len(images))}\n")
        blocks.append(tables.markdown_table(["model", *metrics], means, figures=len(metrics)))
        for metric in metrics:
            body = [
                [markdown(image), *(shown(row["images"][image][metric], metric) for row in by_model.values())]
                for image in images
            ]
            blocks.append(f"### {markdown(set_name)}, {metric}\n")
            blocks.append(tables.markdown_table(["image", *names], body, figures=len(names)))
    return "\n".join([*blocks, f"{markdown(convention(metrics))}\n"])


def latex_table(results: Results, metrics: Sequence[str], *, scale: int) -> str:
    r"""One table of all means for ``\usepackage{booktabs}``: models × (sets × metrics), as papers have it.

    The best figure of a column is bold, the second underlined.
    """
    width, by_set = len(metrics), [ranked(rows, metrics) for rows in results.values()]
    heads = " & ".join(rf"\multicolumn{{{width}}}{{c}}{{{_latex(name)} $\times${scale}}}" for name in results)
    rules = " ".join(
        rf"\cmidrule(lr){{{2 + width * index}-{1 + width * (index + 1)}}}" for index in range(len(results))
    )
    arrows = [r"$\uparrow$" if METRICS[metric].higher_is_better else r"$\downarrow$" for metric in metrics]
    names = [f"{m.replace('_', '-').upper()} {arrow}" for m, arrow in zip(metrics, arrows, strict=True)]
    body = "\n".join(
        " & ".join([_latex(model), *(_LATEX[c.rank].format(c.text) for each in by_set for c in each[model])])
        + r" \\"
        for model in by_set[0]
    )
    return rf"""% needs \usepackage{{booktabs}}
\begin{{table}}
\centering
\begin{{tabular}}{{l{"r" * width * len(results)}}}
\toprule
& {heads} \\
{rules}
Model & {" & ".join(names * len(results))} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\caption{{Best bold, second underlined. {_latex(convention(metrics))}}}
\end{{table}}
"""


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX_SIGNS)


def html_page(results: Results, gallery: Gallery, metrics: Sequence[str], *, scale: int) -> str:
    """Figures and the crops in which the models differ most, as one HTML document that loads nothing.

    Args:
        results: Of :func:`~esrgan_lightning.evaluation.evaluate`.
        gallery: That it filled.
        metrics: Of the results, in the order of the columns.
        scale: s, for the titles.
    """
    sets = []
    for name, rows in results.items():
        images = list(next(iter(rows.values()))["images"])
        by_image = {image: {model: row["images"][image] for model, row in rows.items()} for image in images}
        sets.append(
            {
                "name": name,
                "count": counted(len(images)),
                "means": ranked(rows, metrics),
                "images": {image: ranked(models, metrics) for image, models in by_image.items()},
                "views": gallery.views.get(name, ()),
            }
        )
    return html_document(
        Path(__file__).with_name("page.html"),
        title=f"Evaluation ×{scale}: {', '.join(results)}",
        sets=sets,
        heads=[f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}" for metric in metrics],
        scale=scale,
        side=gallery.crop,
        whole=WHOLE,
        convention=convention(metrics),
    )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes strict JSON; under the final name there is only ever a whole file.

    What JSON has no number for is written as null: an infinite PSNR (SR equals HR), and a NIQE that does not
    exist. Missing folders are made, an existing file is replaced.

    Raises:
        InputError: The file cannot be written there.
    """
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
