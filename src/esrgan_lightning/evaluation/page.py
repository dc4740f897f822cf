"""An evaluation as a page for the browser: figures, and the crops in which the models differ most."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.gallery import WHOLE, Gallery, Picture, View
from esrgan_lightning.evaluation.measures import METRICS, convention
from esrgan_lightning.evaluation.tables import BEST, SECOND, ranks, shown
from esrgan_lightning.ops.html import data_url, html_document

_CLASSES = {BEST: ' class="best"', SECOND: ' class="second"'}


def html_page(results: Results, gallery: Gallery, metrics: Sequence[str], *, scale: int) -> str:
    """One HTML document with everything in it: it asks for nothing from anywhere.

    Args:
        results: Of :func:`~esrgan_lightning.evaluation.evaluate`.
        gallery: That it filled.
        metrics: Of the results, in the order of the columns.
        scale: s, for the titles.
    """
    # Names come from files that may be anybody's: every one of them is escaped.
    tables = [_means(name, rows, metrics, scale) for name, rows in results.items()]
    views = [
        f"<h2>{escape(name)}: where the models differ most</h2>\n"
        + "\n".join(_view(name, view, results[name], metrics) for view in seen)
        for name, seen in gallery.views.items()
    ]
    return html_document(
        __package__,
        "page.html",
        title=f"Evaluation ×{scale}: {', '.join(results)}",
        side=gallery.crop,
        tables="\n".join(tables),
        views="\n".join(views),
        convention=escape(convention(metrics)),
        whole=WHOLE,
    )


def _means(set_name: str, rows: dict[str, Any], metrics: Sequence[str], scale: int) -> str:
    columns = [_column([row[metric] for row in rows.values()], metric) for metric in metrics]
    body = [[_cell(name), *cells] for name, *cells in zip(rows, *columns, strict=True)]
    images = list(next(iter(rows.values()))["images"])
    per_image = []
    for image in images:
        columns = [
            _column([row["images"][image][metric] for row in rows.values()], metric) for metric in metrics
        ]
        per_image += [
            [_cell(image), _cell(name), *cells] for name, *cells in zip(rows, *columns, strict=True)
        ]
    heads = [f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}" for metric in metrics]
    count = "1 image" if len(images) == 1 else f"mean of {len(images)} images"
    return (
        f"<h2>{escape(set_name)} ×{scale} <small>{count}</small></h2>\n{_table(['model', *heads], body)}\n"
        f"<details><summary>image by image</summary>{_table(['image', 'model', *heads], per_image)}</details>"
    )


def _column(values: Sequence[float], metric: str) -> list[str]:
    return [
        f"<td{_CLASSES.get(rank, '')}>{shown(value, metric)}</td>"
        for value, rank in zip(values, ranks(values, metric), strict=True)
    ]


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _view(set_name: str, view: View, rows: dict[str, Any], metrics: Sequence[str]) -> str:
    top, left, side = view.place
    height, width = view.size
    box = ";".join(
        f"{key}:{100 * share:.3f}%"
        for key, share in (
            ("left", left / width),
            ("top", top / height),
            ("width", side / width),
            ("height", side / height),
        )
    )
    figures: dict[str, dict[str, str]] = {name: {} for name in view.models}
    lines = dict.fromkeys(view.models, "")
    for metric in metrics:
        values = [rows[name]["images"][view.image][metric] for name in view.models]
        for name, value, rank in zip(view.models, values, ranks(values, metric), strict=True):
            figures[name][metric] = shown(value, metric)
            lines[name] += (
                f"<span>{metric} <span{_CLASSES.get(rank, '')}>{figures[name][metric]}</span></span>"
            )
    shown_pictures = [
        _figure("LR", view.lr),
        *(
            _figure(name, picture, lines[name], " · ".join(f"{m} {v}" for m, v in figures[name].items()))
            for name, picture in view.models.items()
        ),
        _figure("HR", view.hr),
    ]
    title = escape(f"{set_name} · {view.image}")
    return (
        f'<article class="view" data-title="{title}"><h3>{title} <small>{side}×{side} pixels at '
        f'{left}, {top} of {width}×{height}</small></h3>\n<div class="row">\n<figure class="whole">'
        f'<button type="button"><img alt="whole HR image of {title}" src="{data_url(view.hr.whole, "webp")}">'
        f'<span class="box" style="{box}"></span></button><figcaption>whole image</figcaption></figure>\n'
        f"{''.join(shown_pictures)}</div></article>"
    )


def _figure(name: str, picture: Picture, lines: str = "", figures: str = "") -> str:
    name = escape(name)
    whole, crop = (data_url(each, "webp") for each in (picture.whole, picture.crop))
    return (
        f'<figure data-name="{name}" data-figures="{escape(figures)}"><button type="button" '
        f'data-whole="{whole}"><img alt="{name}" src="{crop}"></button>'
        f"<figcaption><strong>{name}</strong>{lines}</figcaption></figure>\n"
    )
