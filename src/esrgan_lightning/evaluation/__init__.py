"""Trained models against the test sets."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.evaluation.benchmark import Model as Model
    from esrgan_lightning.evaluation.benchmark import Results as Results
    from esrgan_lightning.evaluation.benchmark import evaluate as evaluate
    from esrgan_lightning.evaluation.gallery import Gallery as Gallery
    from esrgan_lightning.evaluation.models import BICUBIC as BICUBIC
    from esrgan_lightning.evaluation.models import Bicubic as Bicubic
    from esrgan_lightning.evaluation.models import Generator as Generator
    from esrgan_lightning.evaluation.models import load_models as load_models
    from esrgan_lightning.evaluation.models import unique_names as unique_names
    from esrgan_lightning.evaluation.plane import Plane as Plane
    from esrgan_lightning.evaluation.plane import plane_png as plane_png
    from esrgan_lightning.evaluation.regression import compare as compare
    from esrgan_lightning.evaluation.regression import print_comparison as print_comparison
    from esrgan_lightning.evaluation.regression import read_results as read_results
    from esrgan_lightning.evaluation.sets import Pictures as Pictures
    from esrgan_lightning.evaluation.sets import TestPair as TestPair
    from esrgan_lightning.evaluation.sets import find_set as find_set
    from esrgan_lightning.evaluation.tables import csv_table as csv_table
    from esrgan_lightning.evaluation.tables import html_page as html_page
    from esrgan_lightning.evaluation.tables import latex_table as latex_table
    from esrgan_lightning.evaluation.tables import markdown_table as markdown_table
    from esrgan_lightning.evaluation.tables import print_table as print_table
    from esrgan_lightning.evaluation.tables import write_json as write_json

__getattr__, __dir__, __all__ = lazy_names(
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
