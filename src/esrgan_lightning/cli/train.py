"""``esrgan-train``: one run, or a sweep with ``-m``."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from esrgan_lightning.cli.errors import complain, one_line_errors, run_hydra
from esrgan_lightning.cli.sweep import Failed, Metrics, check_objective
from esrgan_lightning.config import (
    check_config,
    check_free,
    chosen_metrics,
    config_of,
    expand_home,
)
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.formats import format_of
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.weights.names import model_path

# Of ``data``: what names files and folders on this machine.
_PLACES = ("root", "files", "train_dir", "train_hr", "train_lr", "val_dir", "val_hr", "val_lr")


def _check_early(cfg: DictConfig, run_dir: Path) -> None:
    """What a look at the configuration and the disk tells, before torch and Lightning are loaded."""
    check_config(cfg)
    TrainerSettings.parsed(**OmegaConf.to_container(cfg.trainer, resolve=True))  # type: ignore[arg-type]
    check_objective(cfg)
    if cfg.stage.name != "material":
        chosen_metrics(cfg.metrics)
    init = None if OmegaConf.is_missing(cfg, "init") else cfg.init
    if cfg.stage.name != "material" and init not in (None, "auto"):
        format_of(model_path(str(cfg.init), key="init=", also=("auto",)))
    for key in _PLACES:
        given = None if OmegaConf.is_missing(cfg.data, key) else cfg.data.get(key)
        for folder in given if isinstance(given, ListConfig) else [] if given is None else [given]:
            if not Path(str(folder)).exists():
                raise InputError(f"data.{key}={folder}: there is no such file or folder")
    first = all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    if first and cfg.resume is None and not cfg.overwrite:
        check_free(run_dir)


@contextmanager
def _refusals(run_dir: Path) -> Iterator[None]:
    with one_line_errors("esrgan-train"):
        try:
            yield
        except InputError:
            with suppress(OSError):  # Hydra has made it; with something in it, it stays
                run_dir.rmdir()
            raise


def _task(cfg: DictConfig) -> dict[str, float] | Failed:
    cfg, job = expand_home(cfg), HydraConfig.get()
    run_dir = Path(job.runtime.output_dir)
    if job.mode != RunMode.MULTIRUN:
        with _refusals(run_dir):
            _check_early(cfg, run_dir)
    from pytorch_lightning.utilities import rank_zero_only

    from esrgan_lightning.run.folder import OUTCOME, write_outcome
    from esrgan_lightning.run.progress import Tolerant
    from esrgan_lightning.run.train import train
    from esrgan_lightning.training import quiet

    quiet()
    if job.mode == RunMode.MULTIRUN:
        fresh = not (run_dir / OUTCOME).exists()
        if fresh:
            OmegaConf.save(OmegaConf.create(list(job.overrides.task)), run_dir / "overrides.yaml")
        try:
            check_objective(cfg, job.sweeper.get("direction"))
            # Script-launched processes would run the whole sweep again: they are spawned instead.
            metrics = train(cfg, run_dir, spawn=True)
            return Metrics(metrics, cfg.objective) if cfg.objective else metrics
        except InputError as error:  # the sweep's table tells it again, and the sweep fails at its end
            complain("esrgan-train", error)
            failed: Exception = error
        except Exception as error:
            traceback.print_exc()
            failed = error
        if fresh and not (run_dir / OUTCOME).exists():  # it did not even begin
            write_outcome(run_dir, "failed", error=failed)
        return Failed.of(failed)
    with _refusals(run_dir):
        metrics = train(cfg, run_dir)
    shown = " · ".join(f"{name.removeprefix('val/')} {value:.4f}" for name, value in metrics.items())
    rank_zero_only(print)(f"{run_dir}: {shown}", file=Tolerant(sys.stdout), flush=True)
    return metrics


def main() -> None:
    """Entry point of the console script."""
    # A user's `_target_: my_parts.MyLoss`; last, so that no file there takes the place of another module.
    sys.path.append(str(Path.cwd()))
    decorate = hydra.main("pkg://esrgan_lightning.conf", config_of(sys.argv[1:]), version_base="1.3")
    try:
        run_hydra("esrgan-train", decorate(_task))
    except ValueError as error:
        if "No trials are completed" not in str(error):
            raise
        complain(
            "esrgan-train", "no trial of the search came to its end: outcome.json in each folder says why"
        )
        sys.exit(1)
