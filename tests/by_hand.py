"""Both stages assembled as a notebook would, without Hydra: tiny networks, random batches."""

import functools
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from esrgan_lightning.losses import RelativisticAverageGAN, WeightedLoss
from esrgan_lightning.networks import RRDBNet, VGGDiscriminator
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.stages import GANStage, PSNRStage

WEIGHTS = {"pixel": 1e-2, "adversarial": 5e-3}
adam = functools.partial(torch.optim.Adam, lr=1e-3)


def generator(**settings: Any) -> RRDBNet:
    torch.manual_seed(1)
    # Not scaled down: each layer then has a gradient worth comparing.
    sizes = {"num_features": 4, "num_blocks": 1, "growth_channels": 2, "scale": 2, "unshuffle": False}
    return RRDBNet(**(sizes | {"init_scale": 1.0} | settings))


def discriminator(**settings: Any) -> VGGDiscriminator:
    torch.manual_seed(2)
    return VGGDiscriminator(**({"num_features": 2, "patch_size": 32} | settings))


def psnr_stage(**settings: Any) -> PSNRStage:
    parts = {"generator": generator(), "losses": WeightedLoss({"pixel": nn.L1Loss()}, {"pixel": 1.0})}
    return PSNRStage(**(parts | {"optimizer": adam} | settings))


def gan_stage(**settings: Any) -> GANStage:
    losses = WeightedLoss({"pixel": nn.L1Loss()}, WEIGHTS, given=["adversarial"])
    parts = {"generator": generator(), "discriminator": discriminator(), "losses": losses}
    return GANStage(**(parts | {"adversarial": RelativisticAverageGAN(), "optimizer": adam} | settings))


class Poisoned(nn.Module):
    """L1, made non-finite at chosen calls: in the loss, or in the gradient behind a finite loss."""

    def __init__(self, at, how):
        super().__init__()
        self.at, self.how, self.calls = set(at), how, 0

    def forward(self, sr, hr):
        self.calls += 1
        loss = (sr - hr).abs().mean()
        if self.calls not in self.at:
            return loss
        if self.how == "loss":
            return loss + torch.tensor(float("inf"), dtype=loss.dtype)  # its gradient stays finite
        return loss + (sr - sr.detach()).square().sum().sqrt()  # 0, and its gradient 0/0


def poisoned(make: Any, at: Sequence[int], how: str, **settings: Any) -> PSNRStage | GANStage:
    given = {"given": ["adversarial"]} if make is gan_stage else {}
    weights = {"pixel": 1.0} | ({"adversarial": 5e-3} if given else {})
    return make(losses=WeightedLoss({"pixel": Poisoned(at, how)}, weights, **given), **settings)


def batches(count: int, size: int = 2, side: int = 16) -> list[dict[str, Tensor]]:
    """LR in [0,1] and HR of twice its size, different in each batch."""
    random = torch.Generator().manual_seed(3)
    return [
        {
            "lr": torch.rand(size, 3, side, side, generator=random),
            "hr": torch.rand(size, 3, 2 * side, 2 * side, generator=random),
        }
        for _ in range(count)
    ]


def fit(
    stage: PSNRStage | GANStage, data: Sequence[dict[str, Any]], *, validate: int = 0, **settings: Any
) -> pl.Trainer:
    """Trains on these batches, one pass, in float64 unless the settings say otherwise."""
    quiet = {
        "accelerator": "cpu",
        "max_steps": len(data) // stage.accumulate,
        "max_epochs": 1,
        "precision": "64-true",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": validate,
    }
    trainer = pl.Trainer(**(quiet | settings))
    images = batches(max(1, validate), size=1)
    loaders = [DataLoader(list(part), batch_size=None) for part in (data, images)]
    trainer.fit(stage, *loaders)
    return trainer


def trainer_settings(**changes: Any) -> TrainerSettings:
    """``trainer``'s keys for one update on a CPU."""
    lengths = dict.fromkeys(("max_updates", "val_interval", "checkpoint_interval", "log_interval"), 1)
    machine = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "auto"}
    off = dict.fromkeys(("sync_batchnorm", "compile", "deterministic"), False)
    on = dict.fromkeys(("cuda_graphs", "gpu_kernels", "cast_features"), True)
    others = {"channels_last": "auto", "max_time": None, "keep_last": 3, "monitor": "psnr_y"}
    return TrainerSettings.of(**(lengths | machine | off | on | others | changes))
