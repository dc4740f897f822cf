"""ESRGAN's generator."""

from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.blocks import (
    RRDB,
    STEPS,
    check_colors,
    checked_spec,
    conv3x3,
    pass_colors,
    scaled_msra_init,
)


@final
class RRDBNet(nn.Module):
    """ESRGAN's generator: residual-in-residual dense blocks without batch norm (ESRGAN §3.1).

    f = conv_first(x); f ← f + conv_body(RRDB_N(…RRDB_1(f))); per step k: f ← LReLU(conv_upk(nearest(f)));
    SR = conv_last(LReLU(conv_hr(f))). ``RRDBNet()`` is the paper's x4 network: 16,697,987 parameters.

    The keys of the state dict are those which every upscaler reads, N from 0, M 1..3, K 1..5:
    ``conv_first, body.N.rdbM.convK, conv_body, conv_up1 …, conv_hr, conv_last``, a conv_up for each step:
    ×2, ×2 at scale 4; ×2 thrice at 8; ×3 at 3; at 2 and 1 ×2, ×2 behind a pixel-unshuffle, else ×2 and none.

    Scales 2 and 1 are Real-ESRGAN's by default (Wang et al. 2021, §3.3): the input is folded by 2 or 4 into
    4 or 16 times the channels, and the x4 network works on that. An input that the fold does not divide goes
    through :func:`pad_to_fold`, and the output is cropped.

    Args:
        in_channels: Channels of the LR image.
        out_channels: Channels of the SR image.
        num_features: Channels in the trunk.
        num_blocks: RRDBs in the body; the paper has 23, and 16 in smaller runs.
        growth_channels: Of the dense blocks.
        scale: 1, 2, 3, 4 or 8.
        residual_scaling: β of each dense block and each RRDB, 0 to 1; 1 is none.
        init_scale: Factor on the MSRA initialisation's standard deviation; 1 is none.
        init_scope: What it applies to: ``all`` convolutions, with zero biases (the paper); or those of the
            ``dense`` blocks, the others then keeping PyTorch's own initialisation, as BasicSR has it.
        bilinear_init: Start as an enlargement: the colors pass through the first features, bilinearly
            enlarged at each step, and the rest adds little to them. The paper has no such start.
        unshuffle: Fold the input first; None is True at scales 1 and 2, which alone have it.
        memory_efficient: As in :class:`~esrgan_lightning.networks.blocks.DenseBlock`.
        checkpointing: Train with still less memory and a second forward pass: keep each RRDB's input alone.

    Shape:
        (B,in_channels,h,w), any floating type, in [0,1] → (B,out_channels,s·h,s·w), not clamped.

    Raises:
        InputError: A setting out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        num_features: int = 64,
        num_blocks: int = 23,
        growth_channels: int = 32,
        scale: int = 4,
        residual_scaling: float = 0.2,
        init_scale: float = 0.1,
        init_scope: Literal["all", "dense"] = "all",
        bilinear_init: bool = False,
        unshuffle: bool | None = None,
        memory_efficient: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.spec = checked_spec(RRDBNet, locals())
        if residual_scaling > 1:
            raise InputError(f"RRDBNet: residual_scaling={residual_scaling} must be a number from 0 to 1")
        folds = scale in (1, 2) if unshuffle is None else unshuffle
        if not isinstance(folds, bool) or (folds and scale not in (1, 2)):
            raise InputError(
                f"RRDBNet: unshuffle={unshuffle!r} with scale={scale}: only scales 1 and 2 have it"
            )
        self.spec["arguments"]["unshuffle"] = folds
        self.in_channels, self.out_channels, self.scale = in_channels, out_channels, scale
        self.fold = 4 // scale if folds else 1
        self.steps = STEPS[scale * self.fold]

        self.conv_first = conv3x3(in_channels * self.fold**2, num_features)
        sizes = (num_features, growth_channels, residual_scaling)
        switches = {"memory_efficient": memory_efficient, "checkpointing": checkpointing}
        self.body = nn.Sequential(*(RRDB(*sizes, **switches) for _ in range(num_blocks)))
        self.conv_body = conv3x3(num_features, num_features)
        for step in range(1, len(self.steps) + 1):
            self.add_module(f"conv_up{step}", conv3x3(num_features, num_features))
        self.conv_hr = conv3x3(num_features, num_features)
        self.conv_last = conv3x3(num_features, out_channels)
        self.act = nn.LeakyReLU(0.2, inplace=True)
        scaled_msra_init(self if init_scope == "all" else self.body, init_scale)
        if bilinear_init:
            check_colors("RRDBNet", in_channels, out_channels, num_features)
            self._start_bilinear()

    @torch.no_grad()
    def _start_bilinear(self) -> None:
        """Nearest neighbours and a kernel of their width are bilinear enlargement.

        LeakyReLU lets colors pass, which are no less than 0.
        """
        colors, one = self.out_channels, torch.ones(1, 1, 1, 1)
        for conv in (self.conv_body, self.conv_last):
            conv.weight.mul_(0.1)
        pass_colors(self.conv_first, colors, torch.full((1, self.fold**2, 1, 1), 1 / self.fold**2))
        pass_colors(self.conv_body, colors, 0 * one)
        for step, factor in enumerate(self.steps, start=1):
            taps = torch.tensor([1, 2, 1]) / 4 if factor == 2 else torch.ones(3) / 3
            up = self.get_submodule(f"conv_up{step}")
            pass_colors(up, colors, torch.outer(taps, taps)[None, None])  # type: ignore[arg-type]
        pass_colors(self.conv_hr, colors, one)
        pass_colors(self.conv_last, colors, one, alone=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in_channels,h,w) in [0,1] → (B,out_channels,s·h,s·w), not clamped."""
        if self.fold == 1:
            return self.forward_aligned(x)
        height, width = x.shape[-2:]
        sr = self.forward_aligned(pad_to_fold(x, self.fold))
        return sr[..., : self.scale * height, : self.scale * width]

    def forward_aligned(self, x: Tensor) -> Tensor:
        """What forward does where the fold divides h and w: without a look at the size, for exporters."""
        if self.fold > 1:
            x = F.pixel_unshuffle(x, self.fold)
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for step, factor in enumerate(self.steps, start=1):
            x = F.interpolate(x, scale_factor=factor, mode="nearest")
            x = self.act(self.get_submodule(f"conv_up{step}")(x))
        sr: Tensor = self.conv_last(self.act(self.conv_hr(x)))
        return sr


def pad_to_fold(x: Tensor, fold: int) -> Tensor:
    """Fills up the right and bottom to a multiple of the fold, (B,C,h,w) → (B,C,⌈h/fold⌉·fold,⌈w/fold⌉·fold).

    Mirrored, or the edge repeated where a side is too small for that.
    """
    bottom, right = (-length % fold for length in x.shape[-2:])
    mirrors = bottom < x.shape[-2] and right < x.shape[-1]
    return F.pad(x, (0, right, 0, bottom), mode="reflect" if mirrors else "replicate")
