"""What the stages share: steps by hand and their counting, the moving average, validation, checkpoints.

A stage's algorithm is its ``update``: losses of one batch, and a call of :meth:`Stage.descend` for each.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric, MetricCollection

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import ValidationMetric
from esrgan_lightning.networks import conditions_of, network_spec
from esrgan_lightning.ops.distributed import average_gradients, logged_means
from esrgan_lightning.stages.ema import MovingAverage
from esrgan_lightning.stages.faults import (
    Fault,
    NonFiniteError,
    cause_of,
    first_broken,
    forget_broken_statistics,
)
from esrgan_lightning.stages.steps import (
    device_guarded_step,
    guarded_step,
    scaled_step,
    scaler_of,
    unscale_and_clip,
)
from esrgan_lightning.weights import LINEAGE_KEY, save_generator

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]
Batch = dict[str, Any]
Logged = dict[str, Tensor]  # scalars of an update, by name
_SHOWN = ("loss", "loss_g", "loss_d")  # beside the progress bar, too


class Stage(pl.LightningModule, ABC):
    """Trains with manual optimisation; an update is counted once, however many optimisers it steps.

    Lightning would count two of them for each batch of a GAN. So ``max_steps``, schedules, checkpoint names
    and logs all mean the same.

    Args:
        metrics: by name, of the validation: each the mean over all images of all processes.
        accumulate: batches per update; gradients are averaged over them.
        clip_norm: largest L2 norm of an optimiser's gradient, or None.
        max_skipped: updates with non-finite gradients in a row before training stops.
        provenance: plain values kept in each checkpoint.

    Raises:
        InputError: a value out of range.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        *,
        accumulate: int = 1,
        clip_norm: float | None = None,
        max_skipped: int = 20,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for key, count in (("accumulate", accumulate), ("max_skipped", max_skipped)):
            if count < 1:
                raise InputError(f"stage.{key}={count} must be at least 1")
        if clip_norm is not None and clip_norm <= 0:
            raise InputError(f"stage.clip_norm={clip_norm} must be positive, or null for none")
        self.automatic_optimization = False
        self.validation = MetricCollection(dict(metrics), compute_groups=False)
        self.accumulate, self.clip_norm, self.max_skipped = accumulate, clip_norm, max_skipped
        self.provenance = dict(provenance or {})
        self.learn: Callable[[Batch], Logged] = self.update  # a callback may put a faster way in its place
        self.sync_each_step = True  # after each step, to hear whether it was taken
        self.logs_all = True  # False: those updates alone that a logger reads
        self.logs = True  # whether the update at hand is one that is logged
        self.skipped = self.skipped_in_row = 0
        self.fault: Fault | None = None  # of the last update; whoever reports it takes it away
        self.completes_update = True  # whether the batch at hand is the update's last
        self._logged: Logged = {}
        self._norm = torch.tensor(torch.nan)  # of the last step's gradient, before clipping
        self.forget_update()

    def forget_update(self) -> None:
        """Drops what was noted of the update."""
        self.terms: list[Mapping[str, Tensor]] = []  # of each backward pass
        self.steps_applied: list[Tensor | bool] = []  # of each step
        self._batches: list[Batch] = []
        self._broken: str | None = None  # the first parameter whose gradient was not finite
        self._pending_update: int | None = None  # its number when it is done, and not known to be sound

    @abstractmethod
    def update(self, batch: Batch) -> Logged:
        """The stage's algorithm: losses of one batch, :meth:`descend` for each; what is logged by name."""

    def graph_obstacle(self) -> str | None:
        """Why an update of this stage cannot be recorded as a CUDA graph, in words; None where it can."""
        if self.accumulate > 1:
            return f"stage.accumulate={self.accumulate}: an update is several batches"
        return None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One :meth:`update`, counted and logged."""
        self.resolve_pending()
        self.completes_update, self.logs = (batch_idx + 1) % self.accumulate == 0, self._is_read()
        self._batches.append(batch)
        self._logged = {name: value.detach() for name, value in self.learn(batch).items()}
        if self.completes_update:
            self._finish()
            if self.logs:
                self._log()

    def _is_read(self) -> bool:
        """Whether a logger reads the update at hand: each value costs Lightning most of a millisecond."""
        reads = self.logs_all or self.trainer._logger_connector.should_update_logs
        return reads or self.trainer.global_step + 1 >= self.trainer.max_steps

    def on_fit_start(self) -> None:
        """Another trainer may have left an update open."""
        self.forget_update()

    def descend(self, optimizer: LightningOptimizer, loss: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """The gradient of ``loss``, and a step of ``optimizer`` along it with the update's last batch.

        Of ``terms``, which it is made of, one that is not finite is named. Returns the gradient's L2 norm
        before clipping.
        """
        self.gradient(loss, terms)
        return self.step(optimizer)

    def gradient(self, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """One batch's share of the update's gradient; arguments as of :meth:`descend`."""
        self.terms.append({name: term.detach() for name, term in terms.items()})
        # A loss that is not finite can have finite gradients: NaN in all of them tells `step`, on every rank.
        share = loss.detach() * 0 + 1 / self.accumulate
        self.manual_backward(loss * share)

    def step(self, optimizer: LightningOptimizer) -> Tensor:
        """With the update's last batch: one step along the mean of the processes' gradients.

        It is left out if a gradient is not finite. Returns their L2 norm before clipping.
        """
        if not self.completes_update:
            return self._norm
        average_gradients(p for group in optimizer.param_groups for p in group["params"])
        taken: Tensor | bool
        if not self.sync_each_step:
            self._norm, taken = device_guarded_step(optimizer.optimizer, self.clip_norm)
        elif scaler_of(self):
            taken = scaled_step(self, optimizer)
        else:
            self._norm, taken = guarded_step(optimizer, self.clip_norm)
        self.steps_applied.append(taken)
        if self.sync_each_step:  # else the gradients are looked at later
            self._broken = self._broken or (None if taken or scaler_of(self) else first_broken(self))
            optimizer.zero_grad(set_to_none=True)
        return self._norm

    def loss_scale(self) -> Tensor | None:
        """What fp16's losses are multiplied by before their backward pass; None in other precisions."""
        scaler = scaler_of(self)
        return None if scaler is None else scaler.scale(torch.ones((), device=self.device))

    def _finish(self) -> None:
        """Counts the update and moves the schedules on."""
        schedules = self.lr_schedulers()
        for schedule in schedules if isinstance(schedules, list) else [schedules] if schedules else []:
            schedule.step()  # type: ignore[call-arg]
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self._pending_update = self.trainer.global_step
        if self.sync_each_step:
            self.resolve_pending()

    def resolve_pending(self) -> None:
        """Hears whether the last update's steps were taken; NonFiniteError after too many that were not."""
        if self._pending_update is None:
            return
        update, self._pending_update = self._pending_update, None
        taken = all(bool(each) for each in self.steps_applied)
        if not (taken or self.sync_each_step):
            self._broken = first_broken(self)
        self.skipped_in_row = 0 if taken else self.skipped_in_row + 1
        self.skipped += not taken
        cause = None if taken else cause_of(self.terms, self._batches, self._broken)
        if self.skipped_in_row == 1 and cause:
            self.fault = Fault(update, cause, list(self._batches))
        self.forget_update()
        if not taken:
            forget_broken_statistics(self)
        if self.skipped_in_row >= self.max_skipped:
            raise NonFiniteError(
                f"update {update}: {self.skipped_in_row} updates in a row with a loss or "
                f"gradient that is not finite ({cause or 'fp16 overflow'}); lower the learning rate, or set "
                "stage.clip_norm"
            )

    def _log(self) -> None:
        for name, value in logged_means(self._logged).items():  # over the processes
            self.log(f"train/{name}", value, prog_bar=name in _SHOWN)
        self.log_dict({"step": float(self.global_step), "train/skipped": float(self.skipped)})

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clipping under fp16, after the gradients are unscaled."""
        if scaler_of(self) is not None:
            self._norm = unscale_and_clip(self, optimizer, self.clip_norm)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs the last update of a run that was just stopped: Lightning writes a row there."""
        if self.trainer.should_stop and not self.logs:
            self._log()

    def on_validation_model_zero_grad(self) -> None:
        """Before a validation it is known whether the last update was sound; its gradients may stay."""
        self.resolve_pending()

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics over all images."""
        self.log_metrics(self.validation, "val")

    def log_metrics(self, metrics: MetricCollection, part: str) -> None:
        """Logs ``PART/NAME`` at the number of updates done, and starts anew."""
        values = {f"{part}/{name}": value.float() for name, value in metrics.compute().items()}
        # The metrics have gone over all processes already; Lightning warns unless it may do so again.
        self.log_dict(values | {"step": float(self.global_step)}, sync_dist=True)
        for name in ("psnr_y", "accuracy"):
            if f"val/{name}" in values:
                self.log(name, values[f"val/{name}"], prog_bar=True, logger=False, sync_dist=True)
        metrics.reset()

    @abstractmethod
    def export(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Writes the file of weights that a user gets, whole or not at all; one that is there is replaced."""

    def lineage(self) -> dict[str, Any]:
        """What a checkpoint records beside its tensors: plain values, readable with ``weights_only=True``."""
        return {"provenance": self.provenance}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **parts: Any) -> Any:
        """A stage with a checkpoint's weights, of the parts that ``__init__`` takes.

        Raises:
            InputError: Parts are missing: a checkpoint holds weights, and no losses or optimisers.
        """
        try:
            return super().load_from_checkpoint(checkpoint_path, *args, **{"weights_only": True, **parts})
        except TypeError as error:
            raise InputError(
                f"{checkpoint_path}: a checkpoint holds a stage's weights, not its parts: call "
                f"{cls.__name__}.load_from_checkpoint(FILE, generator=…, …) with all that it takes, "
                f"load_generator(FILE) for the generator alone, or esrgan-train resume=FILE ({error})"
            ) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the lineage and the counters."""
        self.resolve_pending()
        checkpoint[LINEAGE_KEY] = self.lineage()
        checkpoint["updates"] = {"skipped": self.skipped, "skipped_in_row": self.skipped_in_row}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts on."""
        counted = checkpoint["updates"]
        self.skipped, self.skipped_in_row = counted["skipped"], counted["skipped_in_row"]


class GeneratorStage(Stage):
    """A stage that trains a generator: its moving average, validation on whole pictures, its lineage.

    Args:
        generator: (B,C,h,w) → (B,C,s·h,s·w), both in [0,1].
        ema_decay: of the generator's moving average; None (the paper) for none.
        metrics: by name, for validation; by default PSNR-Y and SSIM-Y within a border of the scale, as in
            the literature.
        **settings: of :class:`Stage`.
    """

    def __init__(
        self,
        generator: nn.Module,
        *,
        ema_decay: float | None = None,
        metrics: Mapping[str, Metric] | None = None,
        **settings: Any,
    ) -> None:
        scale = int(generator.scale)  # type: ignore[arg-type]
        by_default = {name: ValidationMetric(name, scale) for name in ("psnr_y", "ssim_y")}
        super().__init__(metrics or by_default, **settings)
        self.generator = generator
        self.ema = MovingAverage(generator, ema_decay) if ema_decay else None

    @property
    def model(self) -> nn.Module:
        """The generator that a user gets: the moving average where there is one."""
        return self.ema.module if self.ema is not None else self.generator

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B,C,h,w), and maps for a generator that takes them → (B,C,s·h,s·w), by :attr:`model`."""
        sr: Tensor = self.model(*inputs)
        return sr

    def follow(self) -> None:
        """Takes the generator's step into its moving average, with the update's last batch."""
        if self.ema is not None and self.completes_update:
            self.ema.update_parameters(self.generator)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One whole image → its SR, (1,C,H,W) in [0,1].

        Raises:
            NonFiniteError: the SR holds NaN.
        """
        sr = super_resolve(self.model, batch).float().clamp(0, 1)
        if sr.isnan().any():
            names = ", ".join(map(str, batch.get("name", ())))
            raise NonFiniteError(
                f"update {self.global_step}: the validation's SR of {names} holds NaN; lower the learning "
                "rate, or set stage.clip_norm"
            )
        self.validation.update(sr=sr, hr=batch["hr"])
        return sr

    def export(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Writes ``generator.safetensors``: :attr:`model` with its spec."""
        save_generator(folder / "generator.safetensors", self.model, metadata=provenance)

    def lineage(self) -> dict[str, Any]:
        """The network's spec and the run's provenance."""
        return {"spec": network_spec(self.generator), **super().lineage()}


def super_resolve(generator: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Generator(lr), or generator(lr, conditions): (B,C,h,w), (B,K,h,w) → (B,C,s·h,s·w), about [0,1].

    Raises:
        InputError: the batch has ``conditions`` and the generator takes none, or the other way round.
    """
    conditions = batch.get("conditions")
    check_conditions(generator, given=conditions is not None)
    sr: Tensor = generator(batch["lr"]) if conditions is None else generator(batch["lr"], conditions)
    return sr


def check_conditions(generator: nn.Module, *, given: bool) -> None:
    """Raises InputError where a generator takes maps and none are given, or the other way round."""
    classes = conditions_of(generator)
    if classes and not given:
        raise InputError(
            f"{type(generator).__name__} takes maps of {', '.join(classes)}: give conditions=maps "
            "conditions.dir=DIR, or conditions=torchvision"
        )
    if given and not classes:
        raise InputError(
            f"{type(generator).__name__} takes no maps: leave conditions= away, or choose generator=sft"
        )


def color_shift(sr: Tensor, lr: Tensor) -> Logged:
    """How much redder, greener and bluer (gray: brighter) pictures came out: the mean of SR − LR by channel.

    Shrinking SR to the size of LR would leave its mean as it is, so the means are all that it takes.

    Args:
        sr: (B,C,s·h,s·w) in [0,1], C 3 or 1.
        lr: (B,C,h,w) in [0,1].

    Returns:
        ``color_shift_r``, ``…_g`` and ``…_b``, or ``color_shift_y`` alone; each in [−1,1].
    """
    with torch.no_grad():
        sr, lr = (each if each.dtype == torch.float64 else each.float() for each in (sr, lr))
        shift = sr.mean((0, 2, 3)) - lr.mean((0, 2, 3))
    names = "rgb" if len(shift) == 3 else "y"
    return dict(zip((f"color_shift_{channel}" for channel in names), shift, strict=True))
