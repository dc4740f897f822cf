"""Fine-tuning a VGG to tell materials apart: its features then look at textures (ESRGAN §3.3, SR-MINC)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.classifier import VGGClassifier
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.stages.base import Batch, Logged, OptimizerFactory, ScheduleFactory, Stage
from esrgan_lightning.weights import LINEAGE_KEY

_BEST_OF = 5


class MaterialStage(Stage):
    """Trains a classifier by cross-entropy; its features are what is wanted of it.

    Batches are ``{"image": (B,3,S,S) in [0,1], "label": (B,) int64}``. Validation logs the accuracy over all
    images (``val/accuracy``, with more than five classes also ``val/accuracy_top5``) and the mean loss.

    Args:
        network: (B,3,S,S) → logits (B,K); its weights are the checkpoint's ``network.…``.
        classes: the K names, kept in each checkpoint.
        optimizer: parameters → optimiser; its rate is the head's.
        schedule: optimiser → learning-rate schedule stepped once per update, or None.
        features_rate: rate of the features, as a share of the head's; 0 leaves them as they are.
        **settings: ``accumulate``, ``clip_norm``, ``max_skipped``, ``provenance``, as of
            :class:`~esrgan_lightning.stages.base.Stage`.

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
        **settings: Any,
    ) -> None:
        super().__init__(accuracies(len(classes)), **settings)
        if not 0 <= features_rate <= 1:
            raise InputError(f"stage.features_rate={features_rate} must lie between 0 and 1")
        self.network, self.classes = network, tuple(classes)
        # Without a gradient rather than with a rate of 0: half of the work of an update is saved.
        network.features.requires_grad_(features_rate > 0)
        self.testing = self.validation.clone()
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

    def update(self, batch: Batch) -> Logged:
        """Forward, cross-entropy, backward, step."""
        logits = self.network(batch["image"]).float()  # (B,3,S,S) → (B,K)
        loss = F.cross_entropy(logits, batch["label"])
        norm = self.descend(self.optimizers(), loss, {"cross_entropy": loss})  # type: ignore[arg-type]
        right = (logits.argmax(1) == batch["label"]).float().mean()
        return {"loss": loss, "accuracy": right, "grad_norm": norm}

    def graph_obstacle(self) -> str | None:
        """Nobody has needed one."""
        return "the material stage has none"

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Some images, each counted once."""
        self._measure(batch, self.validation)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Some images, each counted once."""
        self._measure(batch, self.testing)

    def on_test_epoch_end(self) -> None:
        """Logs the figures over all images."""
        self.log_metrics(self.testing, "test")

    def _measure(self, batch: dict[str, Any], into: MetricCollection) -> None:
        logits, label = self(batch["image"]).float(), batch["label"]
        into.update(preds=logits, target=label, value=F.cross_entropy(logits, label, reduction="none"))

    def lineage(self) -> dict[str, Any]:
        """The classes and the run's provenance."""
        return {"classes": list(self.classes), **super().lineage()}

    def export(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Writes ``features.safetensors``: the features under torchvision's names."""
        state = self.network.features.state_dict(prefix="features.")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        metadata = {"classes": list(self.classes), "provenance": dict(provenance)}
        data = save(tensors, metadata={LINEAGE_KEY: json.dumps(metadata, sort_keys=True)})
        write_whole(folder / "features.safetensors", data)


def accuracies(num_classes: int) -> dict[str, Metric]:
    """The share of images whose class comes first, or among the first five; and the mean cross-entropy."""
    top = {"accuracy": 1} | ({"accuracy_top5": _BEST_OF} if num_classes > _BEST_OF else {})
    return {
        **{name: MulticlassAccuracy(num_classes, top_k=k, average="micro") for name, k in top.items()},
        "loss": _MeanLoss(),
    }


class _MeanLoss(MeanMetric):
    higher_is_better = False  # type: ignore[assignment]
