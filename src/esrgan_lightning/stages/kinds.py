"""What a trainer may train."""

from esrgan_lightning.stages.gan import GANStage
from esrgan_lightning.stages.material import MaterialStage
from esrgan_lightning.stages.psnr import PSNRStage

Stage = PSNRStage | GANStage | MaterialStage
