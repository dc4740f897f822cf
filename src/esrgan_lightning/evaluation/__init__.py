"""Trained models against the test sets."""

from esrgan_lightning.evaluation.benchmark import Results, evaluate
from esrgan_lightning.evaluation.gallery import Gallery
from esrgan_lightning.evaluation.measures import METRICS, Measure, check_metrics, convention
from esrgan_lightning.evaluation.models import BICUBIC, Bicubic, Generator, load_models, unique_names
from esrgan_lightning.evaluation.pictures import Pictures
from esrgan_lightning.evaluation.report import print_table, write_json
from esrgan_lightning.evaluation.sets import TestPair, find_set
from esrgan_lightning.evaluation.workers import Model

__all__ = [
    "BICUBIC",
    "METRICS",
    "Bicubic",
    "Gallery",
    "Generator",
    "Measure",
    "Model",
    "Pictures",
    "Results",
    "TestPair",
    "check_metrics",
    "convention",
    "evaluate",
    "find_set",
    "load_models",
    "print_table",
    "unique_names",
    "write_json",
]
