"""ESRGAN for PyTorch Lightning: both training stages, every loss and network, exact metrics."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrgan_lightning.inference import Upscaler
    from esrgan_lightning.weights import load_generator

__version__ = "0.1.0"
__all__ = ["Upscaler", "__version__", "load_generator"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: importing the package costs nothing beside torch.
    if name == "Upscaler":
        from esrgan_lightning.inference import Upscaler

        return Upscaler
    if name == "load_generator":
        from esrgan_lightning.weights import load_generator

        return load_generator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
