"""Trained models against the test sets."""

from esrgan_lightning.evaluation.benchmark import METRICS, Model, Results, check_metrics, evaluate
from esrgan_lightning.evaluation.models import BICUBIC, load_models, unique_names
from esrgan_lightning.evaluation.report import print_table, write_json
from esrgan_lightning.evaluation.sets import TestPair, find_set

__all__ = [
    "BICUBIC",
    "METRICS",
    "Model",
    "Results",
    "TestPair",
    "check_metrics",
    "evaluate",
    "find_set",
    "load_models",
    "print_table",
    "unique_names",
    "write_json",
]
