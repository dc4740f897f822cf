"""An evaluation as a page for the browser: figures, and the crops in which the models differ most."""

from collections.abc import Sequence
from pathlib import Path

from esrgan_lightning.evaluation.benchmark import Results
from esrgan_lightning.evaluation.gallery import WHOLE, Gallery
from esrgan_lightning.evaluation.measures import METRICS, convention
from esrgan_lightning.evaluation.tables import counted, ranked
from esrgan_lightning.ops.html import html_document


def html_page(results: Results, gallery: Gallery, metrics: Sequence[str], *, scale: int) -> str:
    """One HTML document with everything in it: it asks for nothing from anywhere.

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
