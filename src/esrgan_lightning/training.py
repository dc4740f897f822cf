"""``train``: one run, from a configuration to its folder."""

import logging
import warnings

from esrgan_lightning.run.train import train

__all__ = ["quiet", "train"]


def quiet() -> None:
    """Leaves out what Lightning tells about itself; warnings that concern a run stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
