"""``esrgan-train``: one run, or a sweep with ``-m``."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from esrgan_lightning.cli.errors import one_line_errors, quiet


@hydra.main(config_path="pkg://esrgan_lightning.conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> dict[str, float]:
    """Trains one stage; the value is what a sweep's table shows."""
    # Imported here: `--help` and `--cfg job` answer at once.
    from esrgan_lightning.training import train

    quiet()
    job = HydraConfig.get()
    run_dir = Path(job.runtime.output_dir)
    if job.mode == RunMode.MULTIRUN:
        # Script-launched processes would run the whole sweep again: they are spawned instead.
        return train(cfg, run_dir, spawn=True)
    with one_line_errors("esrgan-train"):
        return train(cfg, run_dir)
