"""Results as CSV, Markdown and LaTeX, each with what its figures mean."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.measures import METRICS, convention

#: Of a figure among those of other models: the best, the one after it, any other.
PLAIN, SECOND, BEST = 0, 1, 2

_LATEX = MappingProxyType(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)
# What Markdown would take as markup, or as the end of a cell.
_MARKDOWN = MappingProxyType({sign: f"\\{sign}" for sign in "\\`*_[]<>|#~"})


def shown(value: float, metric: str) -> str:
    """A figure as tables print it, with a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.{METRICS[metric].digits}f}"


def ranks(values: Iterable[float], metric: str) -> list[int]:
    """``BEST``, ``SECOND`` or ``PLAIN`` for each, by what is printed: equals share a rank.

    Where all are equal, or there is only one, none stands out.
    """
    printed = [shown(value, metric) for value in values]
    figures = {float(text) for text in printed if text != "–"}
    order = sorted(figures, reverse=METRICS[metric].higher_is_better)
    by_text = dict(zip(order, (BEST, SECOND), strict=False)) if len(order) > 1 else {}
    return [PLAIN if text == "–" else by_text.get(float(text), PLAIN) for text in printed]


def csv_table(results: Results, metrics: Sequence[str]) -> str:
    """A row for each set, model and image, ``mean`` in place of the image at the end; full digits.

    The last line, which begins with #, says what the figures mean.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["set", "model", "image", *metrics])
    for set_name, by_model in results.items():
        for model, row in by_model.items():
            for image, values in [*row["images"].items(), ("mean", row)]:
                cells = [set_name, model, image]
                # A spreadsheet takes a text that begins so for a formula, and names may come from anywhere.
                cells = [f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell for cell in cells]
                writer.writerow([*cells, *(values[metric] for metric in metrics)])
    return f"{file.getvalue()}# {convention(metrics)}\n"


def markdown_table(results: Results, metrics: Sequence[str], *, scale: int) -> str:
    """The means of each set, best in bold and second underlined, then each metric image by image."""
    blocks = []
    for set_name, by_model in results.items():
        columns = {metric: [row[metric] for row in by_model.values()] for metric in metrics}
        rows = _marked(columns, "**{}**", "<u>{}</u>")
        count = len(next(iter(by_model.values()))["images"])
        title = f"## {_escaped(set_name, _MARKDOWN)} ×{scale}, {_images(count)}"
        names = [_escaped(name, _MARKDOWN) for name in by_model]
        blocks += [
            title,
            _markdown(["model", *metrics], [[n, *row] for n, row in zip(names, rows, strict=True)]),
        ]
        for metric in metrics:
            images = next(iter(by_model.values()))["images"]
            body = [
                [
                    _escaped(image, _MARKDOWN),
                    *(shown(row["images"][image][metric], metric) for row in by_model.values()),
                ]
                for image in images
            ]
            blocks += [f"### {_escaped(set_name, _MARKDOWN)}, {metric}", _markdown(["image", *names], body)]
    return "\n\n".join([*blocks, f"{_escaped(convention(metrics), _MARKDOWN)}\n"])


def latex_table(results: Results, metrics: Sequence[str], *, scale: int) -> str:
    r"""One table of all means for ``\usepackage{booktabs}``: models × (sets × metrics), as papers have it.

    The best figure of a column is bold, the second underlined.
    """
    columns = {
        (set_name, metric): [row[metric] for row in by_model.values()]
        for set_name, by_model in results.items()
        for metric in metrics
    }
    rows = _marked(columns, r"\textbf{{{}}}", r"\underline{{{}}}")
    width = len(metrics)
    heads = " & ".join(
        rf"\multicolumn{{{width}}}{{c}}{{{_escaped(name, _LATEX)} $\times${scale}}}" for name in results
    )
    rules = " ".join(
        rf"\cmidrule(lr){{{2 + width * index}-{1 + width * (index + 1)}}}" for index in range(len(results))
    )
    names = [_label(metric) for metric in metrics] * len(results)
    body = [
        " & ".join([_escaped(model, _LATEX), *row]) + r" \\"
        for model, row in zip(next(iter(results.values())), rows, strict=True)
    ]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\begin{{tabular}}{{l{'r' * width * len(results)}}}",
            r"\toprule",
            rf"& {heads} \\",
            rules,
            rf"Model & {' & '.join(names)} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{Best bold, second underlined. {_escaped(convention(metrics), _LATEX)}}}",
            r"\end{table}",
            "",
        ]
    )


def _label(metric: str) -> str:
    """``psnr_y`` → PSNR-Y, with an arrow to the better side."""
    arrow = r"$\uparrow$" if METRICS[metric].higher_is_better else r"$\downarrow$"
    return f"{metric.replace('_', '-').upper()} {arrow}"


def _marked(
    columns: Mapping[str, Sequence[float]] | Mapping[tuple[str, str], Sequence[float]], best: str, second: str
) -> list[list[str]]:
    """The rows of a table out of its columns, the two best figures of each marked."""
    marks = {PLAIN: "{}", SECOND: second, BEST: best}
    cells = []
    for key, values in columns.items():
        metric = key if isinstance(key, str) else key[1]
        ranked = zip(values, ranks(values, metric), strict=True)
        cells.append([marks[rank].format(shown(value, metric)) for value, rank in ranked])
    return [list(row) for row in zip(*cells, strict=True)]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _escaped(text: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in " ".join(text.split()))


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"mean of {count} images"
