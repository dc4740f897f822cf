"""What tests do on each of several ranks (see ranks.py)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from esrgan_lightning.config import compose
from esrgan_lightning.losses import PerceptualLoss
from esrgan_lightning.networks.batch_norm import synchronize_batch_norm
from esrgan_lightning.ops.distributed import logged_means, mean_over_processes
from esrgan_lightning.training import train


def share(rank: int, whole: Tensor) -> Tensor:
    """This rank's part of a batch, as a leaf that asks for its gradient."""
    return whole.chunk(dist.get_world_size())[rank].clone().requires_grad_()


def mean_twice(rank: int, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """M = mean(x); (m, ∂/∂x Σ_r m³/W, and the gradient of that gradient's square)."""
    x = share(rank, whole)
    mean = mean_over_processes(x.mean())
    # Each process has a loss of its own; DDP's average is the division by their number.
    (first,) = torch.autograd.grad(mean**3 / dist.get_world_size(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return mean.detach(), first.detach(), second


def logged(rank: int) -> dict[str, Tensor]:
    return logged_means({"a": torch.tensor(float(rank)), "b": torch.tensor(10.0, requires_grad=True)})


def adversarial_losses(
    rank: int, losses: list[tuple[Any, str]], real: Tensor, fake: Tensor
) -> list[tuple[Tensor, ...]]:
    """Of each loss: its value, and its gradients as DDP would average them."""
    done = []
    for loss, name in losses:
        mine = share(rank, real), share(rank, fake)
        value = getattr(loss, name)(*mine)
        value.div(dist.get_world_size()).backward()
        done.append((value.detach(), *(each.grad for each in mine)))
    return done


class Backbone(nn.Module):
    layers = ("only",)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"only": image}


def relative_distance(rank: int, sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    mine = share(rank, sr)
    value = PerceptualLoss(Backbone(), relative=True, shift=3)(mine, share(rank, hr))
    value.div(dist.get_world_size()).backward()
    return value.detach(), mine.grad


def batch_norms(
    rank: int, make: Callable[[], nn.Module], batches: list[Tensor]
) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Tensor], list[Tensor], Tensor]:
    """Two passes through a synchronised layer: outputs, input gradients, state, gradients, evaluation."""
    layer = synchronize_batch_norm(make().double())
    passes = []
    for whole in batches:
        x = share(rank, whole)
        y = layer(x)
        (y.sin().sum() / dist.get_world_size()).backward()
        passes.append((y.detach(), x.grad))
    gradients = [p.grad.clone() for p in layer.parameters()]
    for gradient in gradients:
        dist.all_reduce(gradient)
    state = {name: tensor.detach() for name, tensor in layer.state_dict().items()}
    return passes, state, gradients, layer.eval()(batches[0]).detach()


def runs(rank: int, overrides: dict[str, tuple[str, ...]], folder: Path, world: int) -> None:
    """Trains each in ``folder/NAME``."""
    for name, changes in overrides.items():
        train(compose(*changes, f"trainer.devices={world}"), folder / name)


def node(rank: int, environments: list[dict[str, str]], overrides: list[str], folder: Path) -> None:
    """One process of a run that a launcher has spread over machines, in the folder that they share."""
    os.environ |= environments[rank]
    os.chdir(folder)
    train(compose(*overrides))
