"""A network over the pixels of an image: where, in which number format, whole or in pieces."""

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import from_float, to_float
from esrgan_lightning.ops.tiling import upscale_tiled


class Runner:
    """Colours in, colours out, ``scale`` times as large; images stay where they are, as integers.

    A generator of colour has gray repeated in its three channels and the result averaged; a generator of gray
    (one channel) enlarges each channel of a colour image for itself.

    Args:
        generator: (B,C,h,w) → (B,C,s·h,s·w) in [0,1], C 3 or 1, with the attribute ``scale``; it is moved and
            put in eval mode.
        device: Where it runs; only what it works on is moved there.
        tile: Side of the squares, in LR pixels, that go through the network one by one; None for the whole
            image at once.
        overlap: LR pixels of surroundings on each side of a tile.

    Raises:
        InputError: A generator without ``scale`` or of other channels than 3 or 1, a tile below 1 or an
            overlap below 0.
    """

    def __init__(
        self, generator: nn.Module, *, device: torch.device, tile: int | None = None, overlap: int = 32
    ) -> None:
        if (tile is not None and tile < 1) or overlap < 0:
            raise InputError(f"tile={tile} must be at least 1 LR pixel or none, overlap={overlap} at least 0")
        self.scale, self.channels = _sizes(generator)
        self.device, self.tile, self.overlap = device, tile, overlap
        self._align = int(getattr(generator, "fold", 1))
        parameter = next(generator.parameters(), None)
        self._dtype = torch.float32 if parameter is None else parameter.dtype
        self.generator = generator.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def __call__(self, colors: Tensor) -> Tensor:
        """(B,C,H,W), C 1 or 3 → (B,C,s·H,s·W), of the same dtype and on the same device.

        Raises:
            InputError: A network whose output is not finite or not s times its input, or an image or tile for
                which the device has not enough memory.
        """
        return upscale_tiled(
            self._run, colors, scale=self.scale, tile=self.tile, overlap=self.overlap, align=self._align
        )

    # Not inference_mode: its tensors could never take part in a caller's training.
    @torch.no_grad()
    def _run(self, tile: Tensor) -> Tensor:
        """(B,C,h,w), C 1 or 3 → (B,C,s·h,s·w) of the same dtype, on the network's device."""
        batch, colors = tile.shape[:2]
        x = to_float(tile.to(self.device), self._dtype)
        if colors < self.channels:
            x = x.expand(-1, self.channels, -1, -1)
        elif colors > self.channels:
            x = x.reshape(batch * colors, 1, *x.shape[-2:])
        try:
            sr: Tensor = self.generator(x)
        except torch.OutOfMemoryError as error:
            size = f"{x.shape[-2]}×{x.shape[-1]} LR pixels (H×W)"
            raise InputError(f"{size} are too many for the memory of {self.device}: set tile=") from error
        if not sr.isfinite().all():
            raise InputError("the network's output is not finite: its weights or its precision do not serve")
        sr = sr.to(torch.promote_types(sr.dtype, torch.float32)).clamp(0, 1)
        if colors < self.channels:
            sr = sr.mean(1, keepdim=True)
        elif colors > self.channels:
            sr = sr.reshape(batch, colors, *sr.shape[-2:])
        return from_float(sr, tile.dtype)


def _sizes(generator: nn.Module) -> tuple[int, int]:
    """The scale and the channels that a generator states."""
    own = getattr(generator, "scale", None)
    if not isinstance(own, int) or own < 1:
        raise InputError(f"{type(generator).__name__} has no whole number as its attribute scale: set one")
    channels = getattr(generator, "in_channels", 3)
    if channels not in (1, 3) or getattr(generator, "out_channels", channels) != channels:
        made = getattr(generator, "out_channels", channels)
        raise InputError(f"a generator from {channels} to {made} channels: images need 3 to 3, or 1 to 1")
    return own, channels
