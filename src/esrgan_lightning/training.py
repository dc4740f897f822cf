"""One training run, from a composed configuration to its metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from torch import nn

import esrgan_lightning
from esrgan_lightning.data import SRDataModule
from esrgan_lightning.errors import InputError
from esrgan_lightning.initial import AUTO, psnr_model
from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.stages import GANStage, PSNRStage
from esrgan_lightning.stages import run_folder as folders
from esrgan_lightning.stages.checkpoints import LAST
from esrgan_lightning.stages.endings import StopCleanly, told_in_one_line
from esrgan_lightning.stages.enlarge import check_conditions
from esrgan_lightning.stages.metrics_csv import MetricsCSV
from esrgan_lightning.stages.outcome import recorded
from esrgan_lightning.stages.processes import check_shared_name
from esrgan_lightning.stages.resume import Saved, check_continues, going_on, read_checkpoint
from esrgan_lightning.stages.run_state import RunState
from esrgan_lightning.stages.start import start_from
from esrgan_lightning.stages.trainer import TrainerSettings, build_trainer
from esrgan_lightning.weights.provenance import provenance


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
        InputError: something in the configuration or the files that it names is wrong and nothing was
            trained; or the training diverged or the disk is full, and the message names the last checkpoint.
        KeyboardInterrupt: Ctrl-C ended the run, after it was saved.
        SystemExit: SIGTERM did.
    """
    folders.check_name(cfg.name)
    run_dir = Path(run_dir or Path("runs") / str(cfg.name))
    settings = TrainerSettings.of(**_plain(cfg.trainer))
    named = str(OmegaConf.to_container(cfg, resolve=False)["name"])  # type: ignore[call-overload, index]
    check_shared_name(named, num_nodes=settings.num_nodes)
    saved = read_checkpoint(str(cfg.resume), run_dir) if cfg.resume is not None else None
    goes_on_here = saved is not None and saved.run_dir == run_dir.resolve()
    init = _init(cfg, resumed=saved is not None)
    if not goes_on_here and not cfg.overwrite:
        folders.check_free(run_dir)
    if init == Path(AUTO):
        init = _trained_psnr(cfg)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = cast(SRDataModule, build(cfg.data, "data"))
    generator = cast(nn.Module, build(cfg.generator, "generator"))
    check_conditions(generator, given=cfg.conditions is not None)
    origin = saved.provenance.get("init") if saved else None
    if init:
        origin = start_from(generator, init, partial=cfg.init_partial)
    source = Path(esrgan_lightning.__file__).parent
    lineage = provenance(_plain(cfg), data_hash=data.index_hash(), origin=origin, source=source)
    stage = build_stage(cfg, generator, lineage)
    # What "auto" means here is part of what was trained.
    plain = _plain(cfg) | {"trainer": _plain(cfg.trainer) | {"precision": settings.resolved_precision()}}
    if saved is not None:
        check_continues(
            saved,
            stage.state_dict(),
            config=plain,
            data_hash=data.index_hash(),
            max_updates=settings.max_updates,
        )
    log = MetricsCSV(run_dir / "metrics.csv", keep_until=saved.updates if saved else None)
    loggers = [log, *_extra_loggers(cfg, run_dir, saved if goes_on_here else None)]
    state = RunState(plain, saved.path if saved else None)
    stop = StopCleanly(str(cfg.name), run_dir / "checkpoints" / LAST, max_minutes=settings.max_time)
    trainer = build_trainer(
        settings, stage, run_dir, loggers, [state, stop, *callbacks], batch_size=data.batch_size, spawn=spawn
    )
    if cfg.overwrite and not goes_on_here:  # not before everything has been found in order
        folders.clear(run_dir)
    folders.clear_partial(run_dir)
    if saved is not None and not goes_on_here:
        folders.bring_along(saved.run_dir, run_dir, keep_until=saved.updates)
    if trainer.is_global_zero:
        run_dir.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(_plain(cfg)), run_dir / "config.yaml")

    with recorded(run_dir), told_in_one_line(run_dir):
        trainer.fit(stage, datamodule=data, ckpt_path=saved.path if saved else None, weights_only=True)
        stop.pass_on(trainer)
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}


def build(node: Any, key: str, **extra: Any) -> Any:
    """Instantiates ``node``; what the user got wrong comes through as one :class:`InputError`."""
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, InputError):
            # A loss speaks of its own arguments, as `weights=PATH`; data and networks name the whole key.
            raise InputError(f"{key}: {cause}" if key.startswith("loss.") else str(cause)) from error
        if isinstance(cause, TypeError):  # a key that there is not, or a value of another type
            raise InputError(f"{key}: {cause}") from error
        raise
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key or key} has no value: give it on the command line") from None


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
    settings = _plain(cfg.stage)
    del settings["name"]
    # Called directly: Hydra's instantiate would turn the dictionaries among the parts into its own kind.
    make = get_class(settings.pop("_target_"))
    try:
        stage = cast(PSNRStage | GANStage, make(**parts, **settings))
        # The trainer makes its own; this tells a wrong rate or a wrong key before anything starts.
        stage.configure_optimizers()
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"stage, optimizer or schedule: {error}") from error
    return stage


def build_losses(cfg: DictConfig, *, adversarial: bool) -> WeightedLoss:
    """The terms that ``loss.weights`` names. A term of weight 0 is not built: it may need a download."""
    nodes = {str(name): node for name, node in cfg.items() if name != "weights"}
    if set(nodes) != set(cfg.weights):
        raise InputError(
            f"loss.weights names {', '.join(cfg.weights)}, but loss has the terms {', '.join(nodes)}: each "
            "term needs a weight, and each weight a term"
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


def _plain(node: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))


def _trained_psnr(cfg: DictConfig) -> Path:
    data = cast(SRDataModule, build(cfg.data, "data"))
    # Built to be thrown away: a mistake in this job is told before the long work for it.
    build_stage(cfg, cast(nn.Module, build(cfg.generator, "generator")), {})
    return psnr_model(cfg, data_hash=data.index_hash(), train=train)


def _init(cfg: DictConfig, *, resumed: bool) -> Path | None:
    if not isinstance(cfg.init_partial, bool):
        raise InputError(f"init_partial={cfg.init_partial} must be true or false")
    if OmegaConf.is_missing(cfg, "init"):
        if resumed:
            return None
        raise InputError(
            "the GAN stage starts from a PSNR model: give init=FILE (runs/NAME/generator.safetensors), "
            "init=auto to have it trained first, or init=null to start from random weights on purpose"
        )
    if cfg.init == AUTO:
        if "discriminator" not in cfg:
            raise InputError("init=auto trains the PSNR stage for stage=gan: give init=null for stage=psnr")
        return None if resumed else Path(AUTO)
    return None if cfg.init is None else Path(str(cfg.init))


def _extra_loggers(cfg: DictConfig, run_dir: Path, saved: Saved | None) -> list[Logger]:
    if not cfg.logger.get("_target_"):
        return []
    make = build(cfg.logger, "logger")
    return [make(save_dir=run_dir, **(going_on(make.func, saved) if saved else {}))]
