"""The exponential moving average of the generator, counted in updates."""

from typing import final

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from esrgan_lightning.errors import InputError


@final
class MovingAverage(AveragedModel):
    """θ' ← d·θ' + (1−d)·θ once per update; torch's own asks the device at each whether it is the first.

    Args:
        generator: the network to follow.
        decay: d in (0, 1), 0.999 in the best-known toolbox.

    Raises:
        InputError: a decay out of range.
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise InputError(f"stage.ema_decay={decay} must lie between 0 and 1, or be null for none")
        super().__init__(generator)
        self.requires_grad_(False)
        self.decay, self._begun = decay, False

    def update_parameters(self, model: nn.Module) -> None:
        """Takes one update in. The first copies the weights; buffers are copied, not averaged."""
        self._begun = self._begun or bool(self.n_averaged > 0)
        if not self._begun:
            super().update_parameters(model)
            return
        average = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
        average(list(self.module.parameters()), list(model.parameters()), self.n_averaged)
        for mean, now in zip(self.module.buffers(), model.buffers(), strict=True):
            mean.copy_(now)
        self.n_averaged += 1
