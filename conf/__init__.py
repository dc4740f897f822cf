"""The Hydra configuration tree, installed as ``esrgan_lightning.conf``."""
