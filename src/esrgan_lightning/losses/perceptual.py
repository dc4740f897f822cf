"""Perceptual loss: the distance of two pictures in the features of a frozen network."""

from collections.abc import Callable, Mapping
from typing import Literal, Self, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses._common import at_least_float32, check_same_shape, check_weight
from esrgan_lightning.ops.distributed import mean_over_processes

_CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}


@final
class PerceptualLoss(nn.Module):
    """L = Σ_l w_l · d(φ_l(sr), φ_l(hr)), φ_l the features of layer l, d their mean L1 or squared distance.

    ESRGAN (section 3.3) takes VGG19's conv5_4 *before* activation with L1; SRGAN takes it after activation
    (``relu5_4``) with the squared distance, scaled by 0.006. With ``relative`` each layer's distance is
    divided by the same distance of the HR features from zero (for L1: the mean magnitude of φ_l(hr)), so that
    layers of unlike scale weigh alike.

    The backbone's parameters are no part of this module: they stay out of ``parameters()``, so out of
    optimisers and of DDP's reducer, and out of ``state_dict()``, so out of checkpoints. They still follow
    ``.to(…)``.

    Args:
        backbone: A network from :mod:`esrgan_lightning.networks.backbones`, or any module whose forward maps
            an image to ``{name: features}`` and that lists these names in ``layers``. It is frozen here.
        layer_weights: ``{name: w}``, one for each of the backbone's layers; None weighs each with 1.
        criterion: ``"l1"`` or ``"mse"``.
        relative: Divide each layer's distance by the size of the HR features.

    Shape:
        sr, hr: (B,3,H,W), RGB in [0,1] → scalar, at least float32. No gradient flows to hr.

    Raises:
        InputError: A layer without weight, a weight without layer, a weight that is negative or not finite,
            an unknown criterion, or pictures of different shapes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer_weights: Mapping[str, float] | None = None,
        *,
        criterion: Literal["l1", "mse"] = "l1",
        relative: bool = False,
    ) -> None:
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
        if criterion not in _CRITERIA:
            raise InputError(f"criterion={criterion}: expected one of {', '.join(_CRITERIA)}")
        self.layer_weights = weights
        self.criterion = criterion
        self.relative = relative
        # A tuple hides the module from nn.Module's registration; see the class's text for why.
        self._hidden = (backbone.requires_grad_(False).eval(),)

    @property
    def backbone(self) -> nn.Module:
        """The frozen network, by reference."""
        return self._hidden[0]

    def cast_features(self, dtype: torch.dtype) -> None:
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

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Σ_l w_l · d(φ_l(sr), φ_l(hr)), with gradient to ``sr`` alone."""
        check_same_shape(sr, hr)
        with torch.no_grad():
            truth = self.backbone(hr)
        features = self.backbone(sr)
        total = torch.zeros((), device=sr.device)
        for name, weight in self.layer_weights.items():
            total = total + weight * self._distance(features[name], truth[name])
        return total

    def _distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = at_least_float32(sr), at_least_float32(hr)
        distance = _CRITERIA[self.criterion]
        if self.relative:
            # Of the whole batch: each process's own size would weigh the processes' images differently.
            return distance(sr, hr) / mean_over_processes(distance(hr, torch.zeros_like(hr)))
        return distance(sr, hr)
