"""Trained models against the test sets."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.evaluation.benchmark import Results, evaluate
    from esrgan_lightning.evaluation.gallery import Gallery
    from esrgan_lightning.evaluation.measures import (
        METRICS,
        Measure,
        check_metrics,
        convention,
        validation_metric,
    )
    from esrgan_lightning.evaluation.models import BICUBIC, Bicubic, Generator, load_models, unique_names
    from esrgan_lightning.evaluation.page import html_page
    from esrgan_lightning.evaluation.pictures import Pictures
    from esrgan_lightning.evaluation.plane import Plane, plane_png
    from esrgan_lightning.evaluation.regression import Comparison, compare, print_comparison, read_results
    from esrgan_lightning.evaluation.sets import TestPair, find_set
    from esrgan_lightning.evaluation.tables import (
        csv_table,
        latex_table,
        markdown_table,
        print_table,
        write_json,
    )
    from esrgan_lightning.evaluation.workers import Model
    from esrgan_lightning.ops.files import write_text

__all__ = [
    "BICUBIC",
    "METRICS",
    "Bicubic",
    "Comparison",
    "Gallery",
    "Generator",
    "Measure",
    "Model",
    "Pictures",
    "Plane",
    "Results",
    "TestPair",
    "check_metrics",
    "compare",
    "convention",
    "csv_table",
    "evaluate",
    "find_set",
    "html_page",
    "latex_table",
    "load_models",
    "markdown_table",
    "plane_png",
    "print_comparison",
    "print_table",
    "read_results",
    "unique_names",
    "validation_metric",
    "write_json",
    "write_text",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "benchmark": "Results evaluate",
        "gallery": "Gallery",
        "measures": "METRICS Measure check_metrics convention validation_metric",
        "models": "BICUBIC Bicubic Generator load_models unique_names",
        "page": "html_page",
        "pictures": "Pictures",
        "plane": "Plane plane_png",
        "regression": "Comparison compare print_comparison read_results",
        "sets": "TestPair find_set",
        "tables": "csv_table latex_table markdown_table print_table write_json write_text",
        "workers": "Model",
    },
)
