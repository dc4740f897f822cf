"""Generators by name and in files: safe reading, spec and provenance, foreign layouts, interpolation."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.bundled import bundled_weights as bundled_weights
    from esrgan_lightning.weights.checkpoint import describe_file as describe_file
    from esrgan_lightning.weights.checkpoint import load_generator as load_generator
    from esrgan_lightning.weights.checkpoint import load_state as load_state
    from esrgan_lightning.weights.checkpoint import read_generator_file as read_generator_file
    from esrgan_lightning.weights.checkpoint import save_generator as save_generator
    from esrgan_lightning.weights.checkpoint import write_generator_file as write_generator_file
    from esrgan_lightning.weights.conversion import convert_file as convert_file
    from esrgan_lightning.weights.files import LINEAGE_KEY as LINEAGE_KEY
    from esrgan_lightning.weights.interpolation import blend as blend
    from esrgan_lightning.weights.interpolation import blend_files as blend_files
    from esrgan_lightning.weights.interpolation import interpolate as interpolate
    from esrgan_lightning.weights.interpolation import interpolate_files as interpolate_files
    from esrgan_lightning.weights.layouts import infer_spec as infer_spec
    from esrgan_lightning.weights.names import model_names as model_names
    from esrgan_lightning.weights.names import model_path as model_path
    from esrgan_lightning.weights.partial import warm_start as warm_start
    from esrgan_lightning.weights.state import state_hash as state_hash

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        ".bundled": "bundled_weights",
        "checkpoint": "describe_file load_generator load_state read_generator_file save_generator "
        "write_generator_file",
        "conversion": "convert_file",
        "files": "LINEAGE_KEY",
        "interpolation": "blend blend_files interpolate interpolate_files",
        "layouts": "infer_spec",
        "names": "model_names model_path",
        "state": "state_hash",
        "partial": "warm_start",
    },
)
