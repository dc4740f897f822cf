"""The frozen network of a loss over features, and the weights of its layers."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Self, final

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32, check_same_shape, check_weight


class Layer(NamedTuple):
    """One layer's features of both pictures, at least float32, and its weight."""

    weight: float
    sr: Tensor
    hr: Tensor


@final
class FrozenFeatures(nn.Module):
    """Both pictures in the layers of a frozen network.

    The network is no part of this module's parameters or state: no optimiser and no checkpoint sees it. It
    still follows ``.to(…)``.

    Args:
        backbone: A network from :mod:`esrgan_lightning.networks.backbones`, or any module whose forward maps
            an image to ``{name: features}`` and that lists these names in ``layers``. It is frozen here.
        layer_weights: ``{name: w}``, one for each of the backbone's layers; None weighs each with 1.

    Raises:
        InputError: A layer without weight, a weight without layer, a weight that is negative or not finite,
            or pictures of different shapes.
    """

    def __init__(self, backbone: nn.Module, layer_weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        layers = getattr(backbone, "layers", None)
        if not layers:
            raise InputError(
                f"backbone {type(backbone).__name__}: expected a network that names its `layers`"
            )
        weights = dict(layer_weights) if layer_weights is not None else dict.fromkeys(layers, 1.0)
        if set(weights) != set(layers):
            raise InputError(
                f"layer_weights names {', '.join(weights)}; the backbone gives {', '.join(layers)}: "
                "each layer needs one weight"
            )
        for name, weight in weights.items():
            check_weight(f"layer_weights.{name}", weight)
        self.layer_weights = weights
        # A tuple hides the module from nn.Module's registration; see the class's text for why.
        self._hidden = (backbone.requires_grad_(False).eval(),)

    @property
    def backbone(self) -> nn.Module:
        """The frozen network, by reference."""
        return self._hidden[0]

    def cast(self, dtype: torch.dtype) -> None:
        """Keeps the backbone's weights in the type that mixed precision computes in.

        Under autocast to ``dtype`` the features stay the same to the bit, and no pass has to cast the weights
        anew. A backbone without a method ``cast_weights`` is left as it is.
        """
        if callable(cast := getattr(self.backbone, "cast_weights", None)):
            cast(dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Takes the hidden backbone along: ``.to``, ``.cuda`` and ``.double`` all come through here."""
        self.backbone._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def forward(self, sr: Tensor, hr: Tensor) -> Iterator[Layer]:
        """(B,3,H,W), or (B,1,H,W) of gray, in [0,1] twice → each layer; gradient flows to ``sr`` alone."""
        check_same_shape(sr, hr)
        with torch.no_grad():
            truth = self.backbone(hr.expand(-1, 3, -1, -1))
        features = self.backbone(sr.expand(-1, 3, -1, -1))
        for name, weight in self.layer_weights.items():
            yield Layer(weight, at_least_float32(features[name]), at_least_float32(truth[name]))
