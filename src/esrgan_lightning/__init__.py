"""ESRGAN for PyTorch Lightning: both training stages, every loss and network, exact metrics."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.config import compose as compose
    from esrgan_lightning.data.datamodule import SRDataModule as SRDataModule
    from esrgan_lightning.evaluation.benchmark import evaluate as evaluate
    from esrgan_lightning.inference import Upscaler as Upscaler
    from esrgan_lightning.losses import WeightedLoss as WeightedLoss
    from esrgan_lightning.networks import RRDBNet as RRDBNet
    from esrgan_lightning.networks import VGGDiscriminator as VGGDiscriminator
    from esrgan_lightning.stages import GANStage as GANStage
    from esrgan_lightning.stages import PSNRStage as PSNRStage
    from esrgan_lightning.training import quiet as quiet
    from esrgan_lightning.training import train as train
    from esrgan_lightning.weights import interpolate as interpolate
    from esrgan_lightning.weights import load_generator as load_generator

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_names(
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
