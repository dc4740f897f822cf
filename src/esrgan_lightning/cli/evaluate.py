"""``esrgan-evaluate``: models × sets."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.errors import InputError


def as_list(value: str | Sequence[str]) -> list[str]:
    """One value needs no brackets."""
    return [value] if isinstance(value, str) else [str(item) for item in value]


@hydra.main(config_path="pkg://esrgan_lightning.conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Prints the table and writes the JSON file."""
    from omegaconf import OmegaConf

    from esrgan_lightning.evaluation import evaluate, find_set, load_models, print_table, write_json

    with one_line_errors("esrgan-evaluate"):
        for key, example in (("models", "models=[bicubic,generator.safetensors]"), ("root", "root=DIR")):
            if OmegaConf.is_missing(cfg, key):
                raise InputError(f"{key} has no value: {example}")
        metrics = as_list(cfg.metrics)
        sets = {name: find_set(Path(cfg.root), name, cfg.scale) for name in as_list(cfg.sets)}
        models = load_models(as_list(cfg.models), cfg.scale, tile=cfg.tile)
        results = evaluate(models, sets, scale=cfg.scale, metrics=metrics)
        print_table(results, metrics, scale=cfg.scale)
        write_json(Path(cfg.out), results)
        print(f"written: {cfg.out}")
