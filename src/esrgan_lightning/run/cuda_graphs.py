"""A whole update as one CUDA graph: thousands of small kernels, started by a single call.

A generator of 23 RRDBs starts thousands of kernels in an update, most of them shorter than the processor
needs to start the next: the GPU waits. Recorded once, they are replayed with the pauses gone. What is
computed is the same, and so is the stage's code: it runs as it stands for the first updates and the record.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.progress import announce
from esrgan_lightning.stages.base import Batch, Logged, Stage

# Ordinary updates before the record: the optimisers make their state, cuDNN chooses its algorithms.
_BEFORE = 3


class CudaGraphs(Callback):
    """Replays updates as a CUDA graph where that can be, and says why where it cannot.

    Within a replayed update nobody waits for the device. Whether it was finite is decided there, the step is
    left out there, and the stage hears of it before its next update: counts, warnings and
    ``train/skipped`` come one update later than without, and values are logged for those updates alone that
    a logger reads.

    A trainer assembled by hand takes it as ``Trainer(callbacks=[CudaGraphs()])``.
    """

    def __init__(self) -> None:
        self._replay: Replay | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decides, now that there are optimisers."""
        stage = cast(Stage, pl_module)
        if pl_module.device.type != "cuda":
            return
        if reason := why_not(stage, trainer):
            announce(f"trainer.cuda_graphs: not here, for {reason}")
            return
        self._replay = Replay(stage)
        stage.learn, stage.sync_each_step = self._replay.run, False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last update is looked at."""
        cast(Stage, pl_module).resolve_pending()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The graph and its memory go."""
        if self._replay is not None:
            self._replay.give_up()
            self._replay = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """The stage may be trained again, by another trainer."""
        self.teardown(trainer, pl_module, "fit")


def why_not(stage: Stage, trainer: pl.Trainer) -> str | None:
    """What stands against a graph in this run, in words; None where nothing does."""
    if reason := stage.graph_obstacle():
        return reason
    if isinstance(trainer.strategy, ParallelStrategy):  # also of one process: DDP looks at each backward pass
        return "processes exchange their gradients"
    if trainer.precision == "16-mixed":
        return "fp16's scale is decided on by the processor: bf16 needs none"
    for optimizer in trainer.optimizers:
        if not (isinstance(optimizer, Adam | AdamW) and optimizer.defaults.get("fused")):
            name = type(optimizer).__name__
            return f"{name} is no fused Adam or AdamW, whose step can be left out on the device"
    return None


class Replay:
    """Learns from batches of one size by one graph, from those of another size as ever.

    Args:
        stage: whose ``learn`` it replaces.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage, self.learn = stage, stage.learn
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._sizes: dict[str, Any] = {}
        self._in_a_row = 0  # batches of these sizes
        self._stray = False  # whether the gradients in `.grad` are another update's
        self._gradients: list[tuple[Tensor, Tensor]] = []
        self._rates_set: dict[int, float] = {}  # what each group's tensor holds

    def give_up(self) -> None:
        """Gives the stage its own way back."""
        self.stage.learn, self.stage.sync_each_step, self.stage.logs_all = self.learn, True, True

    def run(self, batch: Batch) -> Logged:
        """What ``learn(batch)`` does and returns; the tensors are overwritten by the next run."""
        sizes = {name: (x.shape, x.dtype) for name, x in batch.items() if isinstance(x, Tensor)}
        optimizers = self.stage.trainer.optimizers
        if self._graph is None:
            self._in_a_row = self._in_a_row + 1 if sizes == self._sizes else 1
            self._sizes = sizes
            if self._in_a_row > _BEFORE:
                self._record(batch)
        if self._graph is not None and self._constants != _constants(optimizers):
            announce("trainer.cuda_graphs: given up, for a schedule moves more than the learning rate")
            self.give_up()
            self._forget_gradients()
            return self.learn(batch)
        if self._graph is None or sizes != self._sizes:
            return self._run_once(batch)
        for name, fixed in self._batch.items():
            fixed.copy_(batch[name], non_blocking=True)
        for rate, group in self._rates:
            if group["lr"] != self._rates_set.get(id(group)):
                rate.fill_(group["lr"])
                self._rates_set[id(group)] = group["lr"]
        self._graph.replay()
        if self._stray:
            for parameter, gradient in self._gradients:
                parameter.grad = gradient
            self._stray = False
        self.stage.terms, self.stage.steps_applied = list(self._terms), list(self._steps_applied)
        return dict(self._logged)

    def _run_once(self, batch: Batch) -> Logged:
        self._forget_gradients()
        self._stray = True
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            logged = self.learn(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return logged

    def _record(self, batch: Batch) -> None:
        self._forget_gradients()  # what is recorded then sets them, and does not add
        self._batch = {name: x.clone() for name, x in batch.items() if isinstance(x, Tensor)}
        self.stage.terms, self.stage.steps_applied = [], []
        optimizers = self.stage.trainer.optimizers
        graph = torch.cuda.CUDAGraph()
        torch.clear_autocast_cache()  # casts of the weights belong into the graph
        try:
            with (
                _recordable(optimizers) as self._rates,
                # Of this thread alone: the loader's may pin memory meanwhile.
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                logged = self.learn(batch | self._batch)
                self._logged = {name: value.detach() for name, value in logged.items()}
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError(
                f"trainer.cuda_graphs=true: an update cannot be recorded, as some part of it asks the device "
                f"for a value ({str(error).splitlines()[0]}); give trainer.cuda_graphs=false"
            ) from error
        torch.clear_autocast_cache()
        self._terms, self._steps_applied = list(self.stage.terms), list(self.stage.steps_applied)
        self._gradients = [(p, p.grad) for p in self.stage.parameters() if p.grad is not None]
        self._stray = False
        self._constants = _constants(optimizers)
        self._graph = graph
        self.stage.logs_all = False

    def _forget_gradients(self) -> None:
        for optimizer in self.stage.trainer.optimizers:
            optimizer.zero_grad(set_to_none=True)


def _constants(optimizers: Sequence[Optimizer]) -> list[dict[str, Any]]:
    """The optimisers' settings that a graph holds as they were: all but the rate."""
    changing = ("params", "lr")
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    return [{name: value for name, value in group.items() if name not in changing} for group in groups]


@contextmanager
def _recordable(optimizers: Sequence[Optimizer]) -> Iterator[list[tuple[Tensor, dict[str, Any]]]]:
    """Within the block the optimisers read their rates from the device; yields these and their groups."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [torch.tensor(group["lr"], dtype=torch.float32, device="cuda") for group in groups]
    before = [(group["lr"], group["capturable"]) for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"], group["capturable"] = rate, True
    try:
        yield list(zip(rates, groups, strict=True))
    finally:
        for group, (lr, capturable) in zip(groups, before, strict=True):
            group["lr"], group["capturable"] = lr, capturable
