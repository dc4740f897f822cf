"""How LR images are made from HR images."""

from esrgan_lightning.data.degradations.bicubic import Bicubic

__all__ = ["Bicubic"]
