"""ESRGAN for PyTorch Lightning: both training stages, every loss and network, exact metrics."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.config import compose
    from esrgan_lightning.data.datamodule import SRDataModule
    from esrgan_lightning.evaluation.benchmark import evaluate
    from esrgan_lightning.inference import Upscaler
    from esrgan_lightning.losses import WeightedLoss
    from esrgan_lightning.networks import RRDBNet, VGGDiscriminator
    from esrgan_lightning.stages import GANStage, PSNRStage
    from esrgan_lightning.training import quiet, train
    from esrgan_lightning.weights import interpolate, load_generator

__version__ = "0.1.0"
__all__ = [
    "GANStage",
    "PSNRStage",
    "RRDBNet",
    "SRDataModule",
    "Upscaler",
    "VGGDiscriminator",
    "WeightedLoss",
    "__version__",
    "compose",
    "evaluate",
    "interpolate",
    "load_generator",
    "quiet",
    "train",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "config": "compose",
        "data": "SRDataModule",
        "evaluation": "evaluate",
        "inference": "Upscaler",
        "losses": "WeightedLoss",
        "networks": "RRDBNet VGGDiscriminator",
        "stages": "GANStage PSNRStage",
        "training": "quiet train",
        "weights": "interpolate load_generator",
    },
)
