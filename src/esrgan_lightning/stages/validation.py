"""Metrics of a stage's validation."""

from collections.abc import Mapping

import pytorch_lightning as pl
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from esrgan_lightning.metrics import PSNRY, SSIMY


def default_metrics(scale: int) -> dict[str, Metric]:
    """PSNR-Y and SSIM-Y with the literature's border: crop = scale."""
    return {"psnr_y": PSNRY(crop=scale), "ssim_y": SSIMY(crop=scale)}


class Validation(nn.Module):
    """Metrics by name over whole images, each the mean over all images of all processes."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        super().__init__()
        self.metrics = MetricCollection(dict(metrics), compute_groups=False)

    def update(self, **images: Tensor) -> None:
        """Adds images: ``sr`` and ``hr``, (B,3,H,W) in [0,1]; each metric takes what its ``update`` names."""
        self.metrics.update(**images)

    def log(self, stage: pl.LightningModule, part: str = "val") -> None:
        """Logs ``PART/NAME`` at the number of updates done, and starts anew."""
        values = {f"{part}/{name}": value.float() for name, value in self.metrics.compute().items()}
        # The metrics have gone over all processes already; Lightning warns unless it may do so again.
        stage.log_dict(values | {"step": float(stage.global_step)}, sync_dist=True)
        for name in ("psnr_y", "accuracy"):
            if f"val/{name}" in values:
                stage.log(name, values[f"val/{name}"], prog_bar=True, logger=False, sync_dist=True)
        self.metrics.reset()
