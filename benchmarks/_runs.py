"""Stages as ``esrgan-train`` builds them, run on one batch, and what watches them."""

import argparse
import json
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.flop_counter import flop_registry

from esrgan_lightning.config import compose
from esrgan_lightning.losses import PerceptualLoss
from esrgan_lightning.networks.blocks import scaled_msra_init
from esrgan_lightning.run.build import build_stage
from esrgan_lightning.run.cuda_graphs import CudaGraphs
from esrgan_lightning.run.processes import ManualDDP
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.stages import GANStage, PSNRStage

# Seconds instead of minutes: a small generator and discriminator, and features of a layer early on.
QUICK = ("generator.num_features=16", "generator.num_blocks=1", "generator.growth_channels=8")
QUICK_GAN = ("discriminator.num_features=8", "loss.perceptual.layers=[conv1_2]")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def build(args: argparse.Namespace) -> tuple[PSNRStage | GANStage, TrainerSettings]:
    """The stage and the trainer's settings as ``esrgan-train`` would make them, before any speeding up."""
    overrides = [f"stage={args.stage}", "init=null", "preset=basicsr"]
    if args.stage == "gan":
        overrides += ["loss.perceptual.weights=random"]  # its speed does not depend on them
    if args.quick:
        overrides += [*QUICK, *(QUICK_GAN if args.stage == "gan" else ())]
    cfg = compose(*overrides, *args.set)
    pl.seed_everything(0, verbose=False)
    stage = cast(PSNRStage | GANStage, build_stage(cfg))
    for term in stage.losses.terms.values():
        if isinstance(term, PerceptualLoss):  # PyTorch's own initialisation would let the features fade away
            scaled_msra_init(term.backbone, 1.0)
    return stage.to(DEVICE), TrainerSettings.of(**dict(cfg.trainer))


def batch_of(size: int, *, side: int = 32) -> dict[str, Tensor]:
    """Noise in [0,1]; the paper's sizes are LR 32², HR 128²."""
    random = torch.Generator().manual_seed(0)
    lr, hr = (torch.rand(size, 3, n, n, generator=random) for n in (side, 4 * side))
    return {"lr": lr, "hr": hr}


def fit(
    stage: PSNRStage | GANStage, settings: TrainerSettings, batch: dict[str, Tensor], updates: int,
    *callbacks: pl.Callback, processes: int = 1,
) -> pl.Trainer:  # fmt: skip
    """That many updates on one batch, with nothing written."""
    trainer = pl.Trainer(
        accelerator=settings.device_type,
        devices=processes,
        strategy=ManualDDP(start_method="spawn") if processes > 1 else "auto",
        precision=settings.resolved_precision(),
        max_steps=updates,
        max_epochs=-1,
        logger=False,
        callbacks=[*([CudaGraphs()] if settings.cuda_graphs else []), *callbacks],
        benchmark=True,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(stage, repeated(batch, updates))
    return trainer


def repeated(batch: dict[str, Tensor], count: int) -> DataLoader[Any]:
    """The same batch so many times."""
    return DataLoader(cast(Any, [batch] * count), batch_size=None)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """torch's FlopCounterMode follows modules as well, and cannot do so through torch.autograd.grad."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.operations += count(*args, **(kwargs or {}), out_val=out)
        return out


class CountOperations(pl.Callback):
    """Operations of one update, multiplications and additions each as one."""

    def __init__(self) -> None:
        self.counter = _Counter()

    @property
    def total(self) -> int:
        """How many there were."""
        return self.counter.operations

    def on_train_batch_start(self, *_: Any) -> None:
        """Before the step."""
        self.counter.__enter__()  # type: ignore[no-untyped-call]

    def on_train_batch_end(self, *_: Any) -> None:
        """After it."""
        self.counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]


class Clock(pl.Callback):
    """Seconds per update, from the end of the second batch to the end of the last, written by rank 0."""

    def __init__(self, file: Path, threads: int) -> None:
        self.file, self.threads, self.ends = file, threads, list[float]()

    def on_train_start(self, *_: Any) -> None:
        """Each process has its share of the cores."""
        torch.set_num_threads(self.threads)

    def on_train_batch_end(self, *_: Any) -> None:
        """The last callback of a batch."""
        self.ends.append(time.perf_counter())

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """A file, as the process may be another one."""
        if trainer.is_global_zero:
            self.file.write_text(json.dumps((self.ends[-1] - self.ends[1]) / (len(self.ends) - 2)))
