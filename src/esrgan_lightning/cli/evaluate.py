"""``esrgan-evaluate``: models × sets."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from esrgan_lightning.cli.errors import one_line_errors, run_hydra
from esrgan_lightning.errors import InputError


def as_list(cfg: DictConfig, key: str, example: str) -> list[str]:
    """The values of a key; a single one needs no brackets."""
    value = None if OmegaConf.is_missing(cfg, key) else cfg[key]
    values = [str(item) for item in value] if isinstance(value, ListConfig) else [str(value)]
    if value is None or not values:
        raise InputError(f"{key} has no value: {key}={example}")
    return values


def run(cfg: DictConfig) -> dict[str, Any]:
    """Prints the table and writes the JSON file; everything is checked before a model runs."""
    # Imported here: `--help` and `--cfg job` answer at once.
    from esrgan_lightning.evaluation import (
        BICUBIC,
        check_metrics,
        evaluate,
        find_set,
        load_models,
        print_table,
        write_json,
    )

    names = [
        name if name == BICUBIC else str(Path(name).expanduser())
        for name in as_list(cfg, "models", "[bicubic,generator.safetensors]")
    ]
    root = Path(as_list(cfg, "root", "FOLDER_OF_SETS")[0]).expanduser()
    out = Path(as_list(cfg, "out", "evaluation.json")[0]).expanduser()
    metrics = as_list(cfg, "metrics", "[psnr_y,ssim_y]")
    check_metrics(metrics)
    scale = _count(cfg, "scale", least=1)
    tile = None if cfg.tile is None else _count(cfg, "tile", least=1)
    overlap = _count(cfg, "overlap", least=0)
    if out.is_dir():
        raise InputError(f"out={out} is a folder: give the name of a file")
    sets = {name.lower(): find_set(root, name, scale) for name in as_list(cfg, "sets", "[set5,set14]")}
    models = load_models(names, scale, device=cfg.device, tile=tile, overlap=overlap)
    results = evaluate(models, sets, scale=scale, metrics=metrics)
    print_table(results, metrics, scale=scale)
    write_json(out, results)
    print(f"written: {out}")
    return results


def _count(cfg: DictConfig, key: str, *, least: int) -> int:
    value = cfg[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{key}={value} must be a whole number, at least {least}")
    return value


@hydra.main(config_path="pkg://esrgan_lightning.conf", config_name="evaluate", version_base="1.3")
def _task(cfg: DictConfig) -> None:
    with one_line_errors("esrgan-evaluate"):
        run(cfg)


def main() -> None:
    """Entry point of the console script."""
    run_hydra("esrgan-evaluate", _task)
