"""The command line's configuration, for notebooks and tests."""

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from esrgan_lightning.errors import InputError

# Figures that are computed with before anyone looks at their type.
_NUMBERS = (
    "seed",
    "scale",
    "optimizer.lr",
    "discriminator_optimizer.lr",
    "data.batch_size",
    "data.patch_size",
    "data.num_workers",
)


def config_of(overrides: Sequence[str]) -> str:
    """Which configuration ``esrgan-train`` composes: ``stage=material`` has no generator, and one of its own.

    >>> config_of(["stage=material", "data=minc"]), config_of(["stage=gan"])
    ('material', 'train')
    """
    return "material" if "stage=material" in overrides else "train"


def compose(*overrides: str, config: str | None = None) -> DictConfig:
    """What ``esrgan-train OVERRIDES…`` would run with.

    A folder of configuration of one's own (``--config-dir``) is here ``"hydra.searchpath=[file:///…/my]"``.

    Example:
        >>> compose("stage=gan", "init=null", "preset=demo").loss.weights.adversarial
        0.005
    """
    hydra = GlobalHydra.instance()
    outer = hydra.hydra  # inside a job of Hydra's: there can be one at a time
    hydra.clear()
    try:
        with initialize_config_module("esrgan_lightning.conf", version_base="1.3"):
            return hydra_compose(config or config_of(overrides), overrides=list(overrides))
    finally:
        hydra.hydra = outer


def check_numbers(cfg: DictConfig) -> None:
    """Raises InputError where a figure is a text, as YAML has it of ``1e-4x``, ``2,5`` or nothing."""
    keys = [*_NUMBERS, *(f"loss.weights.{name}" for name in OmegaConf.select(cfg, "loss.weights") or ())]
    for key in keys:
        if isinstance(value := OmegaConf.select(cfg, key), str):
            raise InputError(f"{key}={value} must be a number")
