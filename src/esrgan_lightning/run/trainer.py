"""Lightning's trainer as the stages use it: intervals in updates, what a run writes, its processes."""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.callbacks import (
    Export,
    FinishLoggers,
    NonFiniteBatch,
    RankAgreement,
    SampleGrid,
    Throughput,
    ValidateAtEnd,
)
from esrgan_lightning.run.checkpoints import BestCheckpoint, LastCheckpoint, WholeCheckpoints
from esrgan_lightning.run.cuda_graphs import CudaGraphs
from esrgan_lightning.run.processes import ManualDDP, check_launch, layer_sync
from esrgan_lightning.run.progress import announce, progress
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.run.speed import speed_up
from esrgan_lightning.stages.base import GeneratorStage, Stage


def build_trainer(
    settings: TrainerSettings,
    stage: Stage,
    run_dir: Path,
    loggers: list[Logger],
    extra_callbacks: Sequence[Callback] = (),
    *,
    batch_size: int,
    spawn: bool = False,
) -> pl.Trainer:
    """Lightning's trainer for one run; the stage is made as fast as the settings say.

    ``batch_size`` is over all processes, for the rate of images; ``spawn`` starts further processes by
    spawning instead of running the script again.
    """
    metrics = {str(name): metric for name, metric in stage.validation.items()}
    if settings.monitor not in metrics:
        raise InputError(f"trainer.monitor={settings.monitor} is none of the metrics: {', '.join(metrics)}")
    higher = metrics[settings.monitor].higher_is_better is not False
    folder = run_dir / "checkpoints"
    callbacks: list[Callback] = [
        BestCheckpoint(folder, monitor=settings.monitor, higher_is_better=higher),
        LastCheckpoint(folder, every=settings.checkpoint_interval, keep=settings.keep_last),
        # A recorded update cannot be looked into.
        *([CudaGraphs()] if settings.cuda_graphs and not settings.others.get("detect_anomaly") else []),
        NonFiniteBatch(run_dir),
        Throughput(batch_size),
        *([SampleGrid(run_dir / "samples")] if isinstance(stage, GeneratorStage) else []),
        Export(run_dir),
        RankAgreement(),
        ValidateAtEnd(),
        FinishLoggers(),
        shown := progress(),
        *extra_callbacks,
    ]
    try:
        trainer = pl.Trainer(
            accelerator=settings.device_type,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=_strategy(settings, spawn=spawn),
            plugins=[
                WholeCheckpoints(),
                *([layer_sync(settings.device_type)] if settings.sync_batchnorm else []),
            ],
            precision=settings.resolved_precision(),
            max_steps=settings.max_updates,
            max_epochs=-1,  # a finished run has done its one "epoch", and can still be continued
            val_check_interval=settings.val_interval * stage.accumulate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            # A run shorter than the interval has one row.
            log_every_n_steps=min(settings.log_interval, settings.max_updates) * stage.accumulate,
            logger=loggers,
            callbacks=callbacks,
            use_distributed_sampler=False,  # the data module shares samples out by their numbers
            deterministic=settings.deterministic,
            benchmark=not settings.deterministic,
            enable_progress_bar=isinstance(shown, ProgressBar),
            default_root_dir=run_dir,
            **{"enable_model_summary": False, **settings.others, **_profiler(settings, run_dir)},
        )
    except (MisconfigurationException, TypeError) as error:  # such as four devices where there is one
        if isinstance(error, TypeError) and "`devices`" not in str(error):
            raise
        raise InputError(f"trainer: {error}") from error
    check_launch(trainer, spawn=spawn)
    speed_up(stage, settings)
    if trainer.is_global_zero and settings.channels_last == "auto" and settings.device_type == "cpu":
        chosen = "true" if settings.resolved_channels_last() else "false"
        announce(f"trainer.channels_last=auto is {chosen} on this processor")
    return trainer


def _profiler(settings: TrainerSettings, run_dir: Path) -> dict[str, Profiler]:
    """Lightning's profilers by their names; what they find lies in the run's folder."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    name = settings.others.get("profiler")
    if name is None:
        return {}
    if name not in kinds:
        raise InputError(f"trainer.profiler={name}: choose {', '.join(kinds)}")
    return {"profiler": kinds[name](dirpath=run_dir, filename="profile")}


def _strategy(settings: TrainerSettings, *, spawn: bool) -> str | ManualDDP:
    if settings.num_nodes == 1 and settings.devices in (1, "1"):
        return "auto"
    if spawn and settings.num_nodes > 1:
        raise InputError("a multirun starts its processes itself: it cannot span trainer.num_nodes > 1")
    return ManualDDP(start_method="spawn" if spawn else "popen")
