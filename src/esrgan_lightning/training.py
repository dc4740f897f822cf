"""One training run, from a composed configuration to its metrics."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.loggers import Logger
from torch import nn

import esrgan_lightning
from esrgan_lightning.data import SRDataModule
from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.stages import GANStage, PSNRStage
from esrgan_lightning.stages.callbacks import (
    ExportGenerator,
    LastCheckpoint,
    RankAgreement,
    SampleGrid,
    Throughput,
    ValidateAtEnd,
    best_checkpoint,
)
from esrgan_lightning.stages.metrics_csv import MetricsCSV
from esrgan_lightning.stages.precision import resolve_precision
from esrgan_lightning.stages.progress import progress
from esrgan_lightning.stages.updates import NonFiniteError
from esrgan_lightning.weights import load_state
from esrgan_lightning.weights.provenance import provenance

logger = logging.getLogger(__name__)

WRITTEN = ("checkpoints", "samples", "generator.safetensors", "metrics.csv", "config.yaml")


@dataclass(frozen=True)
class TrainerSettings:
    """The keys of ``trainer``; what they mean stands in ``conf/trainer/auto.yaml``."""

    max_updates: int
    accelerator: str
    devices: int | str
    num_nodes: int
    strategy: str
    precision: str | int
    channels_last: bool
    val_interval: int
    checkpoint_interval: int
    log_interval: int
    deterministic: bool
    monitor: str

    def __post_init__(self) -> None:
        for key in ("max_updates", "val_interval", "checkpoint_interval", "log_interval"):
            if getattr(self, key) < 1:
                raise InputError(f"trainer.{key}={getattr(self, key)} must be at least 1")


def build(node: Any, key: str, **extra: Any) -> Any:
    """Instantiates ``node``; what the user got wrong comes through as one :class:`InputError`."""
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key or key} has no value: give it on the command line") from None


def train(
    cfg: DictConfig,
    run_dir: Path | None = None,
    *,
    spawn: bool = False,
    callbacks: Sequence[Callback] = (),
) -> dict[str, float]:
    """Runs one stage; its outputs lie in the run's folder.

    Args:
        cfg: as composed by Hydra or :func:`esrgan_lightning.config.compose`.
        run_dir: the run's folder; ``runs/NAME`` by default.
        spawn: start further processes by spawning instead of running the script again (multirun, notebooks).
        callbacks: Lightning callbacks beside the library's own.

    Returns:
        The last validation's metrics, by name.

    Raises:
        InputError: something in the configuration or the files that it names is wrong; nothing was trained.
    """
    run_dir = Path(run_dir or Path("runs") / cfg.name)
    settings = TrainerSettings(**cast(dict[str, Any], OmegaConf.to_container(cfg.trainer, resolve=True)))
    resume = _resume_path(cfg.resume, run_dir)
    _check_init(cfg)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = cast(SRDataModule, build(cfg.data, "data"))
    generator = cast(nn.Module, build(cfg.generator, "generator"))
    origin = load_state(generator, Path(cfg.init)) if cfg.init else None
    plain = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    source = Path(esrgan_lightning.__file__).parent
    lineage = provenance(plain, data_hash=data.index_hash(), origin=origin, source=source)
    stage = build_stage(cfg, generator, lineage)
    if settings.channels_last:
        stage.to(memory_format=torch.channels_last)
    _prepare_folder(run_dir, resume=resume, overwrite=bool(cfg.overwrite))
    kept = _updates_in(resume) if resume else None
    loggers = [MetricsCSV(run_dir / "metrics.csv", keep_until=kept), *_extra_loggers(cfg, run_dir)]
    trainer = build_trainer(settings, stage, data, run_dir, loggers, callbacks, spawn=spawn)
    if trainer.is_global_zero:
        OmegaConf.save(OmegaConf.create(plain), run_dir / "config.yaml")

    try:
        trainer.fit(stage, datamodule=data, ckpt_path=resume, weights_only=True)
    except NonFiniteError as error:
        raise InputError(f"{error}; last good checkpoint: {_latest(run_dir)}") from error
    for each in loggers:
        each.finalize("success")
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}


def build_stage(cfg: DictConfig, generator: nn.Module, lineage: Mapping[str, Any]) -> PSNRStage | GANStage:
    """The stage that ``cfg.stage`` names, with its losses, optimisers and schedules."""
    parts: dict[str, Any] = {
        "generator": generator,
        "losses": build_losses(cfg.loss, adversarial="discriminator" in cfg),
        "optimizer": build(cfg.optimizer, "optimizer"),
        "schedule": build(cfg.schedule, "schedule"),
        "metrics": {name: build(node, f"metrics.{name}") for name, node in cfg.metrics.items()},
        "provenance": dict(lineage),
    }
    if "discriminator" in cfg:
        parts["adversarial"] = build(cfg.loss.adversarial, "loss.adversarial")
        parts["discriminator"] = build(cfg.discriminator, "discriminator")
        parts["discriminator_optimizer"] = build(cfg.discriminator_optimizer, "discriminator_optimizer")
        parts["discriminator_schedule"] = build(cfg.discriminator_schedule, "discriminator_schedule")
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg.stage, resolve=True))
    del settings["name"]
    # Called directly: Hydra's instantiate would turn the dictionaries among the parts into its own kind.
    stage = get_class(settings.pop("_target_"))
    return cast(PSNRStage | GANStage, stage(**parts, **settings))


def build_losses(cfg: DictConfig, *, adversarial: bool) -> WeightedLoss:
    """The terms that ``loss.weights`` names. A term of weight 0 is not built: it may need a download."""
    nodes = {str(name): node for name, node in cfg.items() if name != "weights"}
    if set(nodes) != set(cfg.weights):
        raise InputError(
            f"loss.weights names {', '.join(cfg.weights)}, but loss has the terms {', '.join(nodes)}: each "
            " term needs a weight, and each weight a term"
        )
    # loss/perceptual=none takes the term out together with its weight.
    weights = {
        n: float(cfg.weights[n]) for n, node in nodes.items() if node.get("_target_") and cfg.weights[n]
    }
    given = [name for name in weights if name == "adversarial"]
    if given and not adversarial:
        raise InputError("loss.weights.adversarial needs a discriminator: stage=gan has one")
    terms = {name: build(nodes[name], f"loss.{name}") for name in weights if name not in given}
    return WeightedLoss(terms, weights, given=given)


def build_trainer(
    settings: TrainerSettings,
    stage: PSNRStage | GANStage,
    data: SRDataModule,
    run_dir: Path,
    loggers: list[Logger],
    extra_callbacks: Sequence[Callback] = (),
    *,
    spawn: bool,
) -> pl.Trainer:
    """Lightning's trainer, with every interval in updates."""
    accelerator = settings.accelerator
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise InputError(
            f"trainer.accelerator={accelerator}, but no CUDA device is visible: choose trainer=cpu"
        )
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    per_update = stage.accumulate
    callbacks: list[Callback] = [
        best_checkpoint(run_dir / "checkpoints", monitor=settings.monitor),
        LastCheckpoint(run_dir / "checkpoints", every=settings.checkpoint_interval),
        Throughput(data.batch_size),
        SampleGrid(run_dir / "samples"),
        ExportGenerator(run_dir / "generator.safetensors"),
        RankAgreement(),
        ValidateAtEnd(),
        shown := progress(),
        *extra_callbacks,
    ]
    return pl.Trainer(
        accelerator="gpu" if accelerator == "cuda" else accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=_strategy(settings, stage, spawn=spawn),
        precision=resolve_precision(settings.precision, "cuda" if accelerator == "gpu" else accelerator),
        max_steps=settings.max_updates,
        max_epochs=1,
        val_check_interval=settings.val_interval * per_update,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=settings.log_interval * per_update,
        logger=loggers,
        callbacks=callbacks,
        use_distributed_sampler=False,  # the data module shares samples out by their numbers
        deterministic=settings.deterministic,
        benchmark=not settings.deterministic,
        enable_model_summary=False,
        enable_progress_bar=isinstance(shown, ProgressBar),
        default_root_dir=run_dir,
    )


def _strategy(settings: TrainerSettings, stage: PSNRStage | GANStage, *, spawn: bool) -> str:
    several = settings.num_nodes > 1 or settings.devices not in (1, "1")
    if settings.strategy not in ("auto", "ddp"):
        raise InputError(f"trainer.strategy={settings.strategy}: this library trains with auto or ddp")
    if not several:
        return "auto"
    if spawn and settings.num_nodes > 1:
        raise InputError("a multirun starts its processes itself: it cannot span trainer.num_nodes > 1")
    # In a GAN update each backward touches one of the two networks.
    name = "ddp_spawn" if spawn else "ddp"
    return f"{name}_find_unused_parameters_true" if isinstance(stage, GANStage) else name


def _check_init(cfg: DictConfig) -> None:
    if OmegaConf.is_missing(cfg, "init"):
        raise InputError(
            "the GAN stage starts from a PSNR model: give init=FILE (runs/NAME/generator.safetensors), "
            "or init=null to start from random weights on purpose"
        )


def _resume_path(resume: str | None, run_dir: Path) -> Path | None:
    if resume is None:
        return None
    path = run_dir / "checkpoints" / "last.ckpt" if resume == "last" else Path(resume)
    if not path.is_file():
        raise InputError(f"resume={resume}: no checkpoint {path}")
    return path


def _updates_in(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def _latest(run_dir: Path) -> str:
    files = sorted((run_dir / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    return str(files[-1]) if files else "none was written yet"


@pl.utilities.rank_zero_only
def _prepare_folder(run_dir: Path, *, resume: Path | None, overwrite: bool) -> None:
    if any((run_dir / "checkpoints").glob("*.ckpt")) and resume is None:
        if not overwrite:
            raise InputError(
                f"{run_dir} already holds checkpoints: continue with resume=last, choose another name=, "
                "or start anew with overwrite=true"
            )
        for name in WRITTEN:
            path = run_dir / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    run_dir.mkdir(parents=True, exist_ok=True)


def _extra_loggers(cfg: DictConfig, run_dir: Path) -> list[Logger]:
    return [build(cfg.logger, "logger")(save_dir=run_dir)] if cfg.logger.get("_target_") else []
