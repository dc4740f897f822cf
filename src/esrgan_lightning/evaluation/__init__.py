"""Trained models against the test sets."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.evaluation.benchmark import Model, Results, evaluate
    from esrgan_lightning.evaluation.gallery import Gallery
    from esrgan_lightning.evaluation.models import BICUBIC, Bicubic, Generator, load_models, unique_names
    from esrgan_lightning.evaluation.plane import Plane, plane_png
    from esrgan_lightning.evaluation.regression import compare, print_comparison, read_results
    from esrgan_lightning.evaluation.sets import Pictures, TestPair, find_set
    from esrgan_lightning.evaluation.tables import (
        csv_table,
        html_page,
        latex_table,
        markdown_table,
        print_table,
        write_json,
    )

__all__ = [
    "BICUBIC",
    "Bicubic",
    "Gallery",
    "Generator",
    "Model",
    "Pictures",
    "Plane",
    "Results",
    "TestPair",
    "compare",
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
    "write_json",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "benchmark": "Model Results evaluate",
        "gallery": "Gallery",
        "models": "BICUBIC Bicubic Generator load_models unique_names",
        "plane": "Plane plane_png",
        "regression": "compare print_comparison read_results",
        "sets": "Pictures TestPair find_set",
        "tables": "csv_table html_page latex_table markdown_table print_table write_json",
    },
)
