"""Losses by a frozen network, which is no part of them: of features, with a weight for each layer."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32, check_same_shape, check_weight


class NetworkLoss(nn.Module):
    """A loss by a frozen network that no optimiser and no checkpoint sees; it still follows ``.to(…)``."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        # A tuple hides the module from nn.Module's registration.
        self._hidden = (backbone.requires_grad_(False).eval(),)

    @property
    def backbone(self) -> nn.Module:
        """The frozen network, by reference."""
        return self._hidden[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Takes the hidden network along: ``.to``, ``.cuda`` and ``.double`` all come through here."""
        self.backbone._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]


class FeatureLoss(NetworkLoss):
    """L = Σ_l w_l · d(φ_l(sr), φ_l(hr)), φ_l the features of layer l of a frozen network.

    Args:
        backbone: A network from :mod:`esrgan_lightning.networks.backbones`, or any module whose forward maps
            an image to ``{name: features}`` and that lists these names in ``layers``. It is frozen here.
        layer_weights: One for each of the backbone's layers, in their order; None weighs each with 1.

    Shape:
        sr, hr: (B,3,H,W), or (B,1,H,W) of gray, in [0,1] → scalar, at least float32. No gradient
            flows to hr.

    Raises:
        InputError: A number of weights that is not that of the layers, a weight that is negative or not
            finite, or pictures of different shapes.
    """

    def __init__(self, backbone: nn.Module, layer_weights: Sequence[float] | None = None) -> None:
        super().__init__(backbone)
        layers = getattr(backbone, "layers", None)
        if not layers:
            raise InputError(
                f"backbone {type(backbone).__name__}: expected a network that names its `layers`"
            )
        weights = [1.0] * len(layers) if layer_weights is None else list(layer_weights)
        if len(weights) != len(layers):
            raise InputError(f"layer_weights={weights}: {len(layers)} layers need {len(layers)} weights")
        self.layer_weights = dict(zip(layers, weights, strict=True))
        for name, weight in self.layer_weights.items():
            check_weight(f"layer_weights of {name}", weight)

    @abstractmethod
    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """D of one layer's features, (B,C,h,w) and at least float32 each → scalar."""

    def cast(self, dtype: torch.dtype) -> None:
        """Keeps the backbone's weights in the type that mixed precision computes in.

        Under autocast to ``dtype`` the features stay the same to the bit, and no pass has to cast the weights
        anew. A backbone without a method ``cast_weights`` is left as it is.
        """
        if callable(cast := getattr(self.backbone, "cast_weights", None)):
            cast(dtype)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Σ_l w_l · d(φ_l(sr), φ_l(hr)), with gradient to ``sr`` alone."""
        check_same_shape(sr, hr)
        with torch.no_grad():
            truth = self.backbone(hr.expand(-1, 3, -1, -1))
        features = self.backbone(sr.expand(-1, 3, -1, -1))
        total = torch.zeros((), device=sr.device)
        for name, weight in self.layer_weights.items():
            found, expected = (at_least_float32(each[name]) for each in (features, truth))
            total = total + weight * self.distance(found, expected)
        return total
