"""The exponential moving average of the generator, counted in updates."""

from functools import partial
from typing import final

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from esrgan_lightning.errors import InputError


@final
class MovingAverage(AveragedModel):
    """θ' ← d·θ' + (1−d)·θ; torch's own asks the device at each update whether it is the first.

    Args:
        generator: the network to follow.
        decay: d in (0, 1).
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        super().__init__(generator, multi_avg_fn=partial(_step, decay))
        # Neither an optimiser nor DDP's reducer must see the copy.
        self.requires_grad_(False)
        self._decay, self._known_to_have_begun = decay, False

    def update_parameters(self, model: nn.Module) -> None:
        """Takes one update in. The first copies the weights; buffers are copied, not averaged."""
        if not self._known_to_have_begun:
            super().update_parameters(model)
            self._known_to_have_begun = True
            return
        _step(self._decay, list(self.module.parameters()), list(model.parameters()), self.n_averaged)
        for mean, now in zip(self.module.buffers(), model.buffers(), strict=True):
            mean.copy_(now)
        self.n_averaged += 1


def averaged(generator: nn.Module, decay: float | None) -> MovingAverage | None:
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
    return MovingAverage(generator, decay)


def _step(decay: float, averages: list[Tensor], currents: list[Tensor], updates: int | Tensor) -> None:
    # torch's own is a closure, which cannot be sent to a spawned process.
    get_ema_multi_avg_fn(decay)(averages, currents, updates)  # type: ignore[no-untyped-call]
