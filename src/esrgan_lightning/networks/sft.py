"""SFTGAN's generator, conditioned on maps of classes (Wang et al., CVPR 2018)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.blocks import checked_spec, conv3x3, pixel_shuffles, scaled_msra_init

#: The paper's eight, in the order of the authors' released segmentation network.
OUTDOOR_CLASSES = ("background", "sky", "water", "grass", "mountain", "building", "plant", "animal")

# Channels of the condition network, inside and at its end; its slope, and that of the layers' branches.
_HIDDEN, _CONDITION, _SLOPE = 128, 32, 0.1


def conditions_of(generator: nn.Module) -> tuple[str, ...]:
    """The classes whose maps a generator takes beside the LR image, in order; () for one that takes none.

    A generator says so by its attribute ``classes``: ``generator(lr, conditions)`` with conditions (B,K,h,w),
    K classes, in [0,1].
    """
    return tuple(getattr(generator, "classes", ()))


@final
class SFTLayer(nn.Module):
    """F·(γ + 1) + β, γ and β of the condition: two branches of two 1×1 convolutions each.

    Wang et al. 2018, §3.1, where it is γ ⊙ F + β. The 1, as in the authors' PyTorch release, makes a layer
    whose branches give nothing leave the features as they are.
    """

    def __init__(self, num_features: int = 64) -> None:
        super().__init__()
        self.scale_conv0 = nn.Conv2d(_CONDITION, _CONDITION, 1)
        self.scale_conv1 = nn.Conv2d(_CONDITION, num_features, 1)
        self.shift_conv0 = nn.Conv2d(_CONDITION, _CONDITION, 1)
        self.shift_conv1 = nn.Conv2d(_CONDITION, num_features, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B,num_features,h,w) and (B,32,h,w) → (B,num_features,h,w)."""
        gamma: Tensor = self.scale_conv1(F.leaky_relu(self.scale_conv0(condition), _SLOPE))
        beta: Tensor = self.shift_conv1(F.leaky_relu(self.shift_conv0(condition), _SLOPE))
        return features * (gamma + 1) + beta


@final
class SFTResidualBlock(nn.Module):
    """x + conv2(SFT2(ReLU(conv1(SFT1(x))))), as in the authors' PyTorch release."""

    def __init__(self, num_features: int = 64) -> None:
        super().__init__()
        self.sft1, self.conv1 = SFTLayer(num_features), conv3x3(num_features, num_features)
        self.sft2, self.conv2 = SFTLayer(num_features), conv3x3(num_features, num_features)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B,num_features,h,w) and (B,32,h,w) → (B,num_features,h,w)."""
        residual: Tensor = self.conv2(self.sft2(F.relu(self.conv1(self.sft1(x, condition))), condition))
        return x + residual


@final
class SFTNet(nn.Module):
    """SFTGAN's generator: SR from the LR image and, per pixel, the probability of each class.

    c = condition network of the maps; f = conv(x); f ← f + conv(SFT(block_N(…block_1(f, c)), c)); per step:
    f ← ReLU(shuffle(conv(f))); SR = conv(ReLU(conv(f))). 1,818,403 parameters at x4 with the defaults.

    Layout, widths and slopes are those of the authors' PyTorch release, with one difference: its maps have
    the size of the SR image and its condition network begins with a 4×4 convolution of stride 4; here the
    maps have the LR image's size and all five convolutions are 1×1, so that classes never mix across their
    borders (§3.2). The condition network and the inner halves of the SFT branches do not begin small.

    Args:
        classes: Names of the classes whose maps it takes, in order.
        in_channels: Channels of the LR image.
        out_channels: Channels of the SR image.
        num_features: Channels in the trunk.
        num_blocks: SFT residual blocks.
        scale: 1 (no step), 2 (×2), 3 (×3), 4 (×2 twice) or 8 (×2 thrice).
        init_scale: Factor on the MSRA initialisation's standard deviation in the trunk; 1 is none.

    Shape:
        (B,in_channels,h,w) in [0,1] and (B,K,h,w) in [0,1], which adds up to 1 over the K classes →
        (B,out_channels,s·h,s·w), not clamped.

    Raises:
        InputError: A setting out of range; later maps of another shape than that.
    """

    def __init__(
        self,
        classes: Sequence[str] = OUTDOOR_CLASSES,
        in_channels: int = 3,
        out_channels: int = 3,
        num_features: int = 64,
        num_blocks: int = 16,
        scale: int = 4,
        init_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.spec = checked_spec(SFTNet, locals())
        self.classes = _names(classes)
        self.spec["arguments"]["classes"] = list(self.classes)
        self.in_channels, self.out_channels, self.scale = in_channels, out_channels, scale
        widths = [len(self.classes), *[_HIDDEN] * 4, _CONDITION]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Conv2d(inside, outside, 1), nn.LeakyReLU(_SLOPE)]
        self.condition = nn.Sequential(*layers[:-1])
        self.conv_first = conv3x3(in_channels, num_features)
        self.body = nn.ModuleList(SFTResidualBlock(num_features) for _ in range(num_blocks))
        self.sft_body, self.conv_body = SFTLayer(num_features), conv3x3(num_features, num_features)
        self.upsampling = pixel_shuffles(num_features, scale, nn.ReLU)
        self.conv_hr = conv3x3(num_features, num_features)
        self.conv_last = conv3x3(num_features, out_channels)

        scaled_msra_init(self, init_scale)
        scaled_msra_init(self.condition, 1.0)
        for module in self.modules():
            if isinstance(module, SFTLayer):
                scaled_msra_init(module.scale_conv0, 1.0)
                scaled_msra_init(module.shift_conv0, 1.0)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """(B,in_channels,h,w) and (B,K,h,w), both in [0,1] → (B,out_channels,s·h,s·w), not clamped."""
        if conditions.shape != (len(x), len(self.classes), *x.shape[-2:]):
            raise InputError(
                f"conditions of {tuple(conditions.shape)} for an LR image of {tuple(x.shape)}: the maps of "
                f"{', '.join(self.classes)} have its size, (B,{len(self.classes)},h,w)"
            )
        condition = self.condition(conditions)
        first = features = self.conv_first(x)
        for block in self.body:
            features = block(features, condition)
        features = first + self.conv_body(self.sft_body(features, condition))
        sr: Tensor = self.conv_last(F.relu(self.conv_hr(self.upsampling(features))))
        return sr


def _names(classes: object) -> tuple[str, ...]:
    names = tuple(classes) if isinstance(classes, Sequence) and not isinstance(classes, str) else ()
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise InputError(f"SFTNet: classes={classes!r} must be a list of different names such as [sky,water]")
    return names
