"""The training stages, as LightningModules that a notebook can assemble by hand."""

from esrgan_lightning.stages.gan import GANStage
from esrgan_lightning.stages.material import MaterialStage
from esrgan_lightning.stages.psnr import PSNRStage

__all__ = ["GANStage", "MaterialStage", "PSNRStage"]
