"""The exponential moving average of the generator, counted in updates."""

from functools import partial

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from esrgan_lightning.errors import InputError


def averaged(generator: nn.Module, decay: float | None) -> AveragedModel | None:
    """θ' ← d·θ' + (1−d)·θ once per update, of the generator alone; None where no decay is asked for.

    The first update copies the weights. Buffers are copied, not averaged.

    Args:
        generator: the network to follow.
        decay: d in [0, 1), 0.999 in the best-known toolbox; None or 0 for no average (the paper).
    """
    if not decay:
        return None
    if not 0 < decay < 1:
        raise InputError(f"stage.ema_decay={decay} must lie between 0 and 1, or be null for none")
    average = AveragedModel(generator, multi_avg_fn=partial(_step, decay))
    # Neither an optimiser nor DDP's reducer must see the copy.
    average.requires_grad_(False)
    return average


def _step(decay: float, averages: list[Tensor], currents: list[Tensor], updates: int | Tensor) -> None:
    # torch's own is a closure, which cannot be sent to a spawned process.
    get_ema_multi_avg_fn(decay)(averages, currents, updates)  # type: ignore[no-untyped-call]
