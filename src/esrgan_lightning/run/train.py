"""One training run, from a composed configuration to its metrics."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from esrgan_lightning.config import check_config, check_free, expand_home
from esrgan_lightning.data import MaterialDataModule
from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.ops.files import as_text
from esrgan_lightning.run import folder as folders
from esrgan_lightning.run import resume
from esrgan_lightning.run.build import (
    build_callbacks,
    build_data,
    build_stage,
    build_target,
    data_hash,
    discriminator_optimizer,
    is_material,
    plain,
)
from esrgan_lightning.run.callbacks import Forecast
from esrgan_lightning.run.checkpoints import LAST
from esrgan_lightning.run.initial import AUTO, TrainedStart, psnr_model, start_classifier, start_from
from esrgan_lightning.run.metrics_csv import MetricsCSV
from esrgan_lightning.run.processes import check_shared_name, follow_first_process
from esrgan_lightning.run.progress import announce
from esrgan_lightning.run.resume import Saved, check_continues, find_saved, logger_resume_args
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.run.shutdown import GracefulShutdown, as_user_errors
from esrgan_lightning.run.state import RunState
from esrgan_lightning.run.trainer import build_trainer
from esrgan_lightning.stages.base import GeneratorStage
from esrgan_lightning.stages.material import MaterialStage
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.provenance import provenance


def train(
    cfg: DictConfig, run_dir: Path | None = None, *, spawn: bool = False, callbacks: Sequence[Callback] = ()
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
            trained; or the training diverged, or the disk or the memory is full, and the message names the
            last checkpoint.
        KeyboardInterrupt: Ctrl-C ended the run, after it was saved.
        SystemExit: SIGTERM or SIGHUP did.
    """
    cfg = expand_home(cfg)
    follow_first_process()
    check_config(cfg)
    run_dir = Path(run_dir or Path("runs") / str(cfg.name))
    if "discriminator_optimizer" in cfg:  # in the run's record each setting stands, followed or not
        own = discriminator_optimizer(cfg)
        cfg = cfg.copy()
        OmegaConf.update(cfg, "discriminator_optimizer", own, merge=False, force_add=True)
    settings = TrainerSettings.of(**plain(cfg.trainer))
    named = str(OmegaConf.to_container(cfg, resolve=False)["name"])  # type: ignore[call-overload, index]
    check_shared_name(named, num_nodes=settings.num_nodes)
    saved = find_saved(cfg.resume, run_dir, name=named)
    goes_on_here = saved is not None and saved.run_dir == run_dir.resolve()
    init: str | Path | None = _init(cfg, resumed=saved is not None)
    if not goes_on_here and not cfg.overwrite:
        rank_zero_only(check_free)(run_dir)  # when the others start, the first may have written there
    trained = TrainedStart(str(cfg.init_from)) if cfg.init_from is not None and saved is None else None
    try:
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
    except ValueError as error:
        raise InputError(f"seed={cfg.seed} must be a whole number from 0 to 4294967295") from error
    data = build_data(cfg)
    stage = build_stage(cfg, data.classes if isinstance(data, MaterialDataModule) else ())
    photos = data_hash(cfg, data)
    if init == AUTO:  # now that a mistake in this job has been told before the long work for it
        init = psnr_model(cfg, data_hash=photos, train=train)
    origin = saved.provenance.get("init") if saved else trained.origin if trained else None
    if init and isinstance(stage, MaterialStage):
        origin = start_classifier(stage.network, Path(init))
    elif init:
        origin = start_from(cast(GeneratorStage, stage).generator, init, partial=cfg.init_partial)
    source = Path(__file__).parents[1]
    stage.provenance = provenance(plain(cfg), data_hash=photos, origin=origin, source=source)
    # What "auto" means here is part of what was trained.
    config = plain(cfg) | {"trainer": plain(cfg.trainer) | {"precision": settings.resolved_precision()}}
    if trained:
        trained.load(stage, config)
    finished = _is_finished(cfg, run_dir, saved, settings.max_updates)
    if goes_on_here:
        with folders.locked(run_dir):
            folders.clear_partial(run_dir)  # also of a run that was killed when it had nothing left to do
    if saved is not None:
        check_continues(
            saved,
            stage.state_dict(),
            config=config,
            data_hash=photos,
            max_updates=settings.max_updates + finished,
        )
    if finished:
        from esrgan_lightning.report.runs import read_run  # with it comes matplotlib

        rank_zero_only(announce)(f"resume=auto: {run_dir} has made its {settings.max_updates:,} updates")
        return {f"val/{name}": value for name, value in read_run(run_dir, run_dir.name).metrics.items()}
    log = MetricsCSV(run_dir / "metrics.csv", keep_until=saved.updates if saved else None)
    loggers = [log, *_extra_loggers(cfg, run_dir, saved if goes_on_here else None)]
    state = RunState(config, saved.path if saved else None)
    stop = GracefulShutdown(str(cfg.name), run_dir / "checkpoints" / LAST, max_minutes=settings.max_time)
    small = "Ctrl-C saves and ends; preset=demo takes minutes" if "preset" in cfg else ""
    trainer = build_trainer(
        settings,
        stage,
        run_dir,
        loggers,
        [
            state,
            stop,
            Forecast(run_dir, keep=settings.keep_last, smaller=small),
            *([trained] if trained else []),
            *build_callbacks(cfg, dict(stage.validation.items())),
            *callbacks,
        ],
        batch_size=getattr(data, "batch_size", 1),
        spawn=spawn,
    )
    with folders.locked(run_dir):
        folders.clear_partial(run_dir)  # of a run that was killed
        if cfg.overwrite and not goes_on_here:  # not before everything has been found in order
            folders.clear(run_dir)
        if saved is not None and not goes_on_here:
            folders.copy_resume_artifacts(saved.run_dir, run_dir, keep_until=saved.updates)
        if trainer.is_global_zero:
            run_dir.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(OmegaConf.create(plain(cfg)), run_dir / "config.yaml")

        with folders.recorded(run_dir, resumed=saved is not None), as_user_errors(run_dir, state):
            trainer.fit(stage, datamodule=data, ckpt_path=saved.path if saved else None, weights_only=True)
            stop.pass_on(trainer)
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}


def _is_finished(cfg: DictConfig, run_dir: Path, saved: Saved | None, max_updates: int) -> bool:
    """Whether a queue starts a run once more that has come to its end."""
    ended = cfg.resume == resume.AUTO and saved is not None and saved.updates == max_updates
    return ended and folders.read_outcome(run_dir).get("state") == "finished"


def _init(cfg: DictConfig, *, resumed: bool) -> str | None:
    if cfg.init_from is not None:
        if not is_material(cfg) and OmegaConf.select(cfg, "init") is not None:
            raise InputError(f"init={cfg.init} and init_from={cfg.init_from}: give one of them")
        return None
    if is_material(cfg):  # a run that goes on needs no download
        return None if cfg.init is None or resumed else str(cfg.init)
    if OmegaConf.is_missing(cfg, "init"):
        if resumed:
            return None
        raise InputError(
            "the GAN stage starts from a PSNR model: give init=FILE (runs/NAME/generator.safetensors), "
            "init=psnr for the bundled one, init=auto to have it trained first, or "
            "init=null to start from random weights on purpose"
        )
    if cfg.init == AUTO:
        if "discriminator" not in cfg:
            raise InputError("init=auto trains the PSNR stage for stage=gan: give init=null for stage=psnr")
        return None if resumed else AUTO
    if cfg.init is None:
        return None
    model_path(str(cfg.init), key="init=", also=(AUTO,))  # a wrong name is told before data are read
    return str(cfg.init)


def _extra_loggers(cfg: DictConfig, run_dir: Path, saved: Saved | None) -> list[Logger]:
    loggers: list[Logger] = []
    for name, node in cfg.logger.items():
        make = build_target(node, f"logger.{name}", "logger=[tensorboard,wandb]")
        if isinstance(make, Logger):  # it has been told all that it needs
            loggers.append(make)
            continue
        if not isinstance(make, partial):
            raise InputError(f"logger.{name}._target_={node._target_}: expected a Logger of Lightning's")
        if as_text(run_dir) != run_dir.as_posix():
            raise InputError(
                f"logger.{name}: {run_dir} is no UTF-8, and it takes no other names: call from another folder"
            )
        given = logger_resume_args(cast(type[Logger], make.func), saved) if saved else {}
        # The jobs of a sweep lie in runs/NAME/0, 1, …: one group, a name for each.
        if make.func is WandbLogger and run_dir.parent.name == make.keywords.get("name") == str(cfg.name):
            given = {
                "group": make.keywords.get("group") or cfg.name,
                **given,
                "name": f"{cfg.name}/{run_dir.name}",
            }
        try:
            made = make(save_dir=run_dir, **given)
        except ModuleNotFoundError as error:
            raise needs_extra(f"logger={name} needs", name) from error
        if isinstance(made, WandbLogger) and not made._offline:
            _check_login()
        loggers.append(made)
    return loggers


@rank_zero_only
def _check_login() -> None:
    """Raises InputError where Weights & Biases knows no key: else it is asked for after the first batch."""
    import wandb

    if os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
        return
    try:
        wandb.login(verify=False)  # on a terminal it asks
    except wandb.errors.Error as error:
        raise InputError(
            f"logger=wandb: {error}: run `wandb login`, set WANDB_API_KEY, or keep everything here with "
            "logger.wandb.offline=true"
        ) from error
