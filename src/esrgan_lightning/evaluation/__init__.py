"""Trained models against the test sets."""

from esrgan_lightning.evaluation.benchmark import evaluate, load_models, print_table, unique_name, write_json
from esrgan_lightning.evaluation.sets import TestPair, find_set

__all__ = ["TestPair", "evaluate", "find_set", "load_models", "print_table", "unique_name", "write_json"]
