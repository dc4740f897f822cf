"""The command line's configuration, for notebooks and tests."""

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig


def compose(*overrides: str, config: str = "train") -> DictConfig:
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
            return hydra_compose(config, overrides=list(overrides))
    finally:
        hydra.hydra = outer
