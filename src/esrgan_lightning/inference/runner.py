"""A network over the pixels of an image: where, in which number format, whole or in pieces."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.memory import out_of_memory
from esrgan_lightning.inference.onnx_model import OnnxGenerator, in_onnxruntime
from esrgan_lightning.inference.pixels import PixelAdapter, Precision, check_precision, computing
from esrgan_lightning.inference.plan import Plan, Planner, Tile
from esrgan_lightning.inference.rows.layers import steps_of
from esrgan_lightning.inference.rows.stream import Stream
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops.tiling import spans, upscale_tiled

Engine = Literal["torch", "onnx"]


class Runner:
    """Colours in, colours out, ``scale`` times as large; images stay where they are, as integers.

    A generator of colour has gray repeated in its three channels and the result averaged; a generator of gray
    (one channel) enlarges each channel of a colour image for itself. A generator that takes the maps of K
    classes is given them as K further channels behind the colours.

    Args:
        generator: (B,C,h,w) → (B,C,s·h,s·w) in [0,1], C 3 or 1, with the attribute ``scale``; it is moved and
            put in eval mode.
        device: Where it runs; only what it works on is moved there.
        tile: ``exact`` streams the image by rows, with the result of the whole image in bounded memory
            (RRDBNet and SRResNet); a number goes through it in squares of so many LR pixels a side, which
            leaves seams; None takes the whole image at once. ``auto`` is exact, or the whole image, where the
            network can be streamed; else the whole image, or the largest tiles for which the memory suffices.
        overlap: LR pixels of surroundings on each side of a tile.
        precision: fp32 computes in the network's own format, bf16 and fp16 by autocast: faster where the
            hardware has them, at an error that can be seen (docs/tiling.md). What comes before and after the
            network stays in fp32.
        engine: ``torch``, or ``onnx``: ONNX Runtime, in fp32 and by tiles or whole; what is too large for
            that is still streamed by PyTorch.
        notice: Called with a line of text when memory is too little and pieces become smaller; by default
            that is a warning.

    Raises:
        InputError: A generator without ``scale`` or of other channels than 3 or 1, a tile below 1, an overlap
            below 0, ``exact`` with a network that cannot be streamed, an unknown precision or engine;
            ``onnx`` with ``exact``, with a precision but fp32, without the extra, or for a network that ONNX
            does not hold.
    """

    def __init__(
        self,
        generator: nn.Module,
        *,
        device: torch.device,
        tile: Tile = "auto",
        overlap: int = 32,
        precision: Precision = "fp32",
        engine: Engine = "torch",
        notice: Callable[[str], None] | None = None,
    ) -> None:
        check_precision(precision)
        if engine not in ("torch", "onnx"):
            raise InputError(f"engine={engine} must be torch or onnx")
        if precision != "fp32" and (engine == "onnx" or isinstance(generator, OnnxGenerator)):
            raise InputError(f"precision={precision} is PyTorch's: ONNX Runtime computes as its network is")
        if tile == "exact" and engine == "onnx":
            raise InputError("tile=exact streams by PyTorch: leave out engine=onnx, or take tile=auto")
        self.scale, self.channels = _sizes(generator)
        self._maps = len(conditions_of(generator))
        self.device, self.tile, self.overlap, self.precision = device, tile, overlap, precision
        self.notice = notice or functools.partial(warnings.warn, stacklevel=4)
        self._align = int(getattr(generator, "fold", 1))
        parameter = next(generator.parameters(), None)
        dtype = torch.float32 if parameter is None else parameter.dtype
        self._adapter = PixelAdapter(device, dtype, self.channels)
        self.generator = generator.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._network = in_onnxruntime(self.generator) if engine == "onnx" else self.generator
        self._within = functools.partial(computing, device, precision)
        self._planner = Planner(
            generator,
            device,
            tile=tile,
            overlap=overlap,
            itemsize=dtype.itemsize,
            align=self._align,
            whole=engine == "onnx",
        )

    def __call__(self, colors: Tensor) -> Tensor:
        """(B,C,H,W), C 1 or 3, or (B,C+K,H,W) → (B,C,s·H,s·W), of the same dtype and on the same device.

        Raises:
            InputError: A network whose output is not finite or not s times its input, or a device whose
                memory does not suffice for the least piece.
        """
        batch, channels, height, width = colors.shape
        if channels <= self._maps:
            raise InputError(f"{channels} channels: the maps of {self._maps} classes come behind the colours")
        while True:
            images = batch * max(1, (channels - self._maps) // self.channels)
            plan = self._planner.plan(height, width, images)
            try:
                return self._exact(plan, colors) if plan.mode == "exact" else self._pieces(plan, colors)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if not self._planner.shrink(plan):
                    raise InputError(
                        f"{height}×{width} LR pixels (H×W) are too many for the memory of {self.device}, "
                        f"even {plan}: free some of it, or choose another device"
                    ) from error
            self._tell(plan)

    def plan(self, height: int, width: int, batch: int = 1) -> Plan:
        """How such images, of LR pixels, will go through the network; ``str`` of it tells a person."""
        return self._planner.plan(height, width, batch)

    def _pieces(self, plan: Plan, colors: Tensor) -> Tensor:
        """At once, or tile by tile."""

        def enlarge(piece: Tensor) -> Tensor:
            colors, maps = piece.tensor_split([piece.shape[1] - self._maps], 1)
            with self._within():
                x = self._adapter.enter(colors)
                # One image for each colour where the generator is one of gray.
                given = [maps.to(x).repeat_interleave(len(x) // len(maps), 0)] if self._maps else []
                sr = self._network(x, *given)
            return self._adapter.leave(sr, colors)

        tile = None if plan.mode == "whole" else plan.rows
        return upscale_tiled(
            enlarge, colors, scale=self.scale, tile=tile, overlap=plan.overlap, align=self._align
        )

    def _exact(self, plan: Plan, colors: Tensor) -> Tensor:
        """Streamed by rows, in bands of columns where the plan has them."""
        (height, width), s = colors.shape[-2:], self.scale
        size = (*colors.shape[:2], height * s, width * s)
        result = torch.empty(size, dtype=colors.dtype, device=colors.device)
        for left, right, before, after in spans(width, plan.columns, plan.overlap, self._align):
            columns, done = slice((before - left) * s, (after - left) * s), 0
            for strip in self._strips(colors[..., left:right], plan):
                rows = slice(done, done + strip.shape[2])
                result[..., rows, before * s : after * s] = strip[..., columns]
                done = rows.stop
        return result

    def _strips(self, colors: Tensor, plan: Plan) -> Iterator[Tensor]:
        """(B,C,H,W) → strips (B,C,s·n,s·W) from top to bottom; the n add up to H."""
        height, width = colors.shape[-2:]

        def shrink(rows: int) -> None:
            nonlocal plan
            if rows // 2 < plan.rows and self._planner.shrink(plan._replace(rows=rows)):
                self._tell(plan)
                plan = plan._replace(rows=self._planner.most(plan.rows))

        mirrors = all(-length % self._align < length for length in (height, width))
        steps = steps_of(self.generator, mirrors=mirrors)
        streamed = Stream(steps, most=lambda: plan.rows, within=self._within, shrink=shrink)
        rest, top, left = None, 0, height * self.scale  # rows of no full LR row; LR rows read; rows to come
        while top < height:
            # The last block of a folding network is one that can be mirrored.
            bottom = height if height - top - plan.rows < self._align else top + plan.rows
            image = colors[..., top:bottom, :]
            for sr in streamed(self._adapter.enter(image), bottom == height):
                strip = self._adapter.leave(sr[:, :, :left, : image.shape[3] * self.scale], image)
                left -= strip.shape[2]
                strip = strip.to(image.device)
                strip = strip if rest is None else torch.cat((rest, strip), 2)
                full = strip.shape[2] // self.scale * self.scale
                rest = strip[:, :, full:].clone()
                if full:
                    yield strip[:, :, :full]
            top = bottom

    def _tell(self, plan: Plan) -> None:
        self.notice(f"{plan}: too much for the memory of {self.device}, smaller from here on")


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
