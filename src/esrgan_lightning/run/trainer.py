"""Lightning's trainer as the stages use it: intervals in updates, what a run writes, its processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.callbacks import (
    Export,
    FinishLoggers,
    RankAgreement,
    SampleGrid,
    Throughput,
    ValidateAtEnd,
)
from esrgan_lightning.run.checkpoints import BestCheckpoint, LastCheckpoint, WholeCheckpoints
from esrgan_lightning.run.cuda_graphs import CudaGraphs
from esrgan_lightning.run.guards import NonFiniteBatch
from esrgan_lightning.run.precision import Precision, resolve_precision
from esrgan_lightning.run.processes import ManualDDP, check_launch, layer_sync
from esrgan_lightning.run.progress import announce, progress
from esrgan_lightning.run.speed import channels_last_pays, speed_up
from esrgan_lightning.stages.base import GeneratorStage, Stage

# Other options of Lightning's Trainer that change nothing of what is trained.
SAFE = ("profiler", "limit_val_batches", "detect_anomaly", "inference_mode", "enable_model_summary")
_COUNTED = "a run is counted in updates: give trainer.max_updates"
_SHARED_OUT = "samples are shared out by their numbers, so that a run resumes exactly"
REFUSED = {
    **dict.fromkeys(("max_steps", "min_steps", "max_epochs", "min_epochs"), _COUNTED),
    "fast_dev_run": "it leaves out what a run writes: give trainer.max_updates=1",
    "limit_train_batches": _COUNTED,
    "overfit_batches": "give data.train_count for fewer photos",
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), "give trainer.val_interval"),
    "num_sanity_val_steps": "give a small trainer.val_interval to try validation out",
    "log_every_n_steps": "give trainer.log_interval",
    "accumulate_grad_batches": "give stage.accumulate",
    **dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), "give stage.clip_norm"),
    "logger": "give logger=[tensorboard,wandb]",
    "callbacks": "give +callbacks.NAME._target_=…",
    "plugins": "checkpoints are written by the library's own",
    "enable_checkpointing": "give trainer.checkpoint_interval and trainer.keep_last",
    "default_root_dir": "give name=, the run's folder below runs",
    "benchmark": "it follows trainer.deterministic",
    "enable_progress_bar": "there is a bar on a terminal, and lines elsewhere",
    "barebones": "it leaves out what a run writes",
    **dict.fromkeys(("use_distributed_sampler", "reload_dataloaders_every_n_epochs"), _SHARED_OUT),
    **dict.fromkeys(("limit_test_batches", "limit_predict_batches"), "training neither tests nor predicts"),
}


@dataclass(frozen=True)
class TrainerSettings:
    """The keys of ``trainer``; what they mean stands in ``conf/trainer/auto.yaml``.

    ``others`` are options of Lightning's Trainer by their own names, those of :data:`SAFE`.

    Raises:
        InputError: a number of updates that is no whole number from 1 on, an unknown accelerator or strategy.
    """

    max_updates: int
    max_time: float | None
    accelerator: str
    devices: int | str | list[int]
    num_nodes: int
    strategy: str
    sync_batchnorm: bool
    precision: str | int
    channels_last: bool | Literal["auto"]
    compile: bool
    cuda_graphs: bool
    gpu_kernels: bool
    cast_features: bool
    val_interval: int
    checkpoint_interval: int
    keep_last: int
    log_interval: int
    deterministic: bool
    monitor: str
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, **settings: Any) -> "TrainerSettings":
        """The settings, after a look for names that do not exist."""
        names = [each.name for each in fields(cls) if each.name != "others"]
        others = {key: settings.pop(key) for key in SAFE if key in settings}
        for key in sorted(set(settings) - set(names)):
            if key in REFUSED:
                raise InputError(f"trainer.{key} is not for you to set: {REFUSED[key]}")
            raise InputError(f"trainer.{key}: there is no such key; there are {', '.join([*names, *SAFE])}")
        return cls(**settings, others=others)

    def __post_init__(self) -> None:
        counts = (
            "max_updates",
            "val_interval",
            "checkpoint_interval",
            "keep_last",
            "log_interval",
            "num_nodes",
        )
        for key in counts:
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"trainer.{key}={value} must be a whole number, at least 1")
        if self.max_time is not None and not (isinstance(self.max_time, int | float) and self.max_time > 0):
            raise InputError(f"trainer.max_time={self.max_time} must be a number of minutes above 0, or null")
        if self.strategy not in ("auto", "ddp"):
            raise InputError(
                f"trainer.strategy={self.strategy}: use auto, or ddp for several processes; sharded training "
                "(fsdp, deepspeed, …) is not supported, and networks of this size do not need it"
            )
        for key in ("sync_batchnorm", "cuda_graphs", "gpu_kernels"):
            if not isinstance(value := getattr(self, key), bool):
                raise InputError(f"trainer.{key}={value} must be true or false")
        if not isinstance(self.channels_last, bool) and self.channels_last != "auto":
            raise InputError(f"trainer.channels_last={self.channels_last} must be true, false or auto")
        if self.accelerator not in ("auto", "cpu", "gpu", "cuda", "mps"):
            raise InputError(f"trainer.accelerator={self.accelerator}: choose auto, cpu, gpu, cuda or mps")
        if self.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
            raise InputError(
                f"trainer.accelerator={self.accelerator}, but no CUDA device is visible: choose trainer=cpu"
            )
        self.resolved_precision()

    @property
    def device_type(self) -> str:
        """``cuda``, ``cpu`` or ``mps``."""
        if self.accelerator == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return "cuda" if self.accelerator == "gpu" else self.accelerator

    def resolved_channels_last(self) -> bool:
        """Whether networks lie in memory as NHWC; ``auto`` is what the device computes faster."""
        if self.channels_last == "auto":
            return channels_last_pays(self.device_type)
        return self.channels_last

    def resolved_precision(self) -> Precision:
        """Lightning's name of the precision."""
        return resolve_precision(self.precision, self.device_type)


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

    Args:
        settings: the keys of ``trainer``.
        stage: what is to be trained.
        run_dir: where checkpoints, samples and the exported weights go.
        loggers: what takes the logged values.
        extra_callbacks: beside the library's own.
        batch_size: over all processes, for the rate of images.
        spawn: start further processes by spawning instead of running the script again.
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
    except MisconfigurationException as error:  # such as four devices where there is one
        raise InputError(f"trainer: {error}") from error
    check_launch(trainer, spawn=spawn)
    prepare(stage, settings)
    if trainer.is_global_zero and settings.channels_last == "auto" and settings.device_type == "cpu":
        chosen = "true" if settings.resolved_channels_last() else "false"
        announce(f"trainer.channels_last=auto is {chosen} on this processor")
    return trainer


def prepare(stage: Stage, settings: TrainerSettings) -> None:
    """Makes the stage as fast as the settings say."""
    speed_up(
        stage,
        channels_last=settings.resolved_channels_last(),
        compiled=settings.compile,
        cast_features=settings.cast_features,
        gpu_kernels=settings.gpu_kernels,
        precision=settings.resolved_precision(),
    )


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
