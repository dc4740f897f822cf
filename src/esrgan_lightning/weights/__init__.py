"""Generators by name and in files: safe reading, spec and provenance, foreign layouts, interpolation."""

from typing import TYPE_CHECKING

from esrgan_lightning.bundled import bundled_weights
from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.weights.checkpoint import (
        load_generator,
        load_state,
        read_generator_file,
        save_generator,
        write_generator_file,
    )
    from esrgan_lightning.weights.conversion import convert_file
    from esrgan_lightning.weights.description import describe_file
    from esrgan_lightning.weights.files import LINEAGE_KEY
    from esrgan_lightning.weights.interpolation import blend, blend_files, interpolate, interpolate_files
    from esrgan_lightning.weights.layouts import infer_spec
    from esrgan_lightning.weights.names import model_names, model_path
    from esrgan_lightning.weights.partial import warm_start
    from esrgan_lightning.weights.state import state_hash

__all__ = [
    "LINEAGE_KEY",
    "blend",
    "blend_files",
    "bundled_weights",
    "convert_file",
    "describe_file",
    "infer_spec",
    "interpolate",
    "interpolate_files",
    "load_generator",
    "load_state",
    "model_names",
    "model_path",
    "read_generator_file",
    "save_generator",
    "state_hash",
    "warm_start",
    "write_generator_file",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "checkpoint": "load_generator load_state read_generator_file save_generator write_generator_file",
        "conversion": "convert_file",
        "description": "describe_file",
        "files": "LINEAGE_KEY",
        "interpolation": "blend blend_files interpolate interpolate_files",
        "layouts": "infer_spec",
        "names": "model_names model_path",
        "state": "state_hash",
        "partial": "warm_start",
    },
)
