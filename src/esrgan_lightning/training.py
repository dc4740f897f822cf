"""``train``: one run, from a configuration to its folder."""

from esrgan_lightning.run.train import train

__all__ = ["train"]
