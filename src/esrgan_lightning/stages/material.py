"""Fine-tuning a VGG to tell materials apart: its features then look at textures (ESRGAN §3.3, SR-MINC)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.nn.functional as F
from pytorch_lightning.core.optimizer import LightningOptimizer
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.classifier import VGGClassifier
from esrgan_lightning.ops.distributed import logged_means
from esrgan_lightning.ops.files import whole_file
from esrgan_lightning.stages.updates import OptimizerFactory, ScheduleFactory, Updates
from esrgan_lightning.stages.validation import Validation
from esrgan_lightning.weights import LINEAGE_KEY

_BEST_OF = 5


class MaterialStage(pl.LightningModule):
    """Trains a classifier by cross-entropy; its features are what is wanted of it.

    Batches are ``{"image": (B,3,S,S) in [0,1], "label": (B,) int64}``. Validation logs the accuracy over all
    images (``val/accuracy``, with more than five classes also ``val/accuracy_top5``) and the mean loss.

    Args:
        network: (B,3,S,S) → logits (B,K); its weights are the checkpoint's ``network.…``.
        classes: the K names, kept in each checkpoint.
        optimizer: parameters → optimiser; its rate is the head's.
        schedule: optimiser → learning-rate schedule stepped once per update, or None.
        features_rate: rate of the features, as a share of the head's; 0 leaves them as they are.
        accumulate: batches per update.
        clip_norm: largest gradient norm, or None.
        max_skipped: updates with non-finite gradients in a row before training stops.
        provenance: plain values kept in each checkpoint.

    Raises:
        InputError: the share is outside its range.
    """

    def __init__(
        self,
        network: VGGClassifier,
        classes: Sequence[str],
        *,
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory | None = None,
        features_rate: float = 0.1,
        accumulate: int = 1,
        clip_norm: float | None = None,
        max_skipped: int = 20,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= features_rate <= 1:
            raise InputError(f"stage.features_rate={features_rate} must lie between 0 and 1")
        self.automatic_optimization = False
        self.network, self.classes = network, tuple(classes)
        # Without a gradient rather than with a rate of 0: half of the work of an update is saved.
        network.features.requires_grad_(features_rate > 0)
        self.updates = Updates(accumulate=accumulate, clip_norm=clip_norm, max_skipped=max_skipped)
        self.validation, self.testing = (Validation(accuracies(len(self.classes))) for _ in range(2))
        self.accumulate, self.provenance = accumulate, dict(provenance or {})
        self.features_rate = features_rate
        self._optimizer, self._schedule = optimizer, schedule

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        """One optimiser: the head at its own rate, the features at a share of that."""
        groups: Iterable[Any] = [{"params": list(self.network.classifier.parameters())}]
        if self.features_rate:
            groups = [*groups, {"params": list(self.network.features.parameters())}]
        optimizer = self._optimizer(groups)
        for group in optimizer.param_groups[1:]:
            group["lr"] *= self.features_rate
        return [optimizer], [self._schedule(optimizer)] if self._schedule else []

    def forward(self, image: Tensor) -> Tensor:
        """(B,3,S,S) in [0,1] → logits, (B,K)."""
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One batch: forward, loss, backward; a step with the update's last batch."""
        logits = self.network(batch["image"]).float()  # (B,3,S,S) → (B,K)
        loss = F.cross_entropy(logits, batch["label"])
        completes = self.updates.completes(batch_idx)
        self.updates.backward(self, loss, terms={"cross_entropy": loss}, batch=batch, last=completes)
        right = (logits.argmax(1) == batch["label"]).float().mean()
        means = logged_means({"loss": loss, "accuracy": right})
        self.log("train/loss", means["loss"], prog_bar=True)
        self.log("train/accuracy", means["accuracy"])

        if completes:
            optimizer: LightningOptimizer = self.optimizers()  # type: ignore[assignment]
            norm = self.updates.step(self, optimizer)
            self.updates.finish(self)
            self.log_dict({"step": float(self.global_step), "train/skipped": float(self.updates.skipped)})
            self.log("train/grad_norm", norm)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clipping under fp16, after the gradients are unscaled."""
        self.updates.clip(self, optimizer)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Some images, each counted once."""
        self._measure(batch, self.validation)

    def on_validation_epoch_end(self) -> None:
        """Logs the figures over all images."""
        self.validation.log(self)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Some images, each counted once."""
        self._measure(batch, self.testing)

    def on_test_epoch_end(self) -> None:
        """Logs the figures over all images."""
        self.testing.log(self, "test")

    def _measure(self, batch: dict[str, Any], into: Validation) -> None:
        logits, label = self(batch["image"]).float(), batch["label"]
        into.update(preds=logits, target=label, value=F.cross_entropy(logits, label, reduction="none"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the classes, the run's provenance and its counters."""
        checkpoint[LINEAGE_KEY] = {"classes": list(self.classes), "provenance": self.provenance}
        checkpoint["updates"] = self.updates.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts on."""
        self.updates.load_state_dict(checkpoint["updates"])


def save_features(path: Path, stage: MaterialStage, provenance: Mapping[str, Any]) -> None:
    """Writes the features as .safetensors, under torchvision's names; whole or not at all.

    Args:
        path: an existing file is replaced.
        stage: whose network's.
        provenance: plain values, kept beside the classes in the file's metadata.
    """
    state = stage.network.features.state_dict(prefix="features.")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    metadata = {"classes": list(stage.classes), "provenance": dict(provenance)}
    data = save(tensors, metadata={LINEAGE_KEY: json.dumps(metadata, sort_keys=True)})
    with whole_file(path) as partial:
        partial.write_bytes(data)


def accuracies(num_classes: int) -> dict[str, Metric]:
    """The share of images whose class comes first, or among the first five; and the mean cross-entropy."""
    top = {"accuracy": 1} | ({"accuracy_top5": _BEST_OF} if num_classes > _BEST_OF else {})
    return {
        **{name: MulticlassAccuracy(num_classes, top_k=k, average="micro") for name, k in top.items()},
        "loss": MeanMetric(),
    }
