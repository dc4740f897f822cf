"""A trained generator as a function from image to image."""

import copy
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from esrgan_lightning.errors import InputError, first_line
from esrgan_lightning.inference.ensemble import self_ensemble
from esrgan_lightning.inference.images import filled, pil_colors
from esrgan_lightning.inference.onnx_model import is_exported, load_exported
from esrgan_lightning.inference.pixels import Precision
from esrgan_lightning.inference.plan import Tile
from esrgan_lightning.inference.runner import Engine, Runner
from esrgan_lightning.inference.sizes import enlargement
from esrgan_lightning.inference.threads import sharing_cores
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops import BackProjection, from_float, read_image, to_float
from esrgan_lightning.weights import load_generator
from esrgan_lightning.weights.names import model_path

#: The most LR pixels of pictures that go through the network at the same time.
TOGETHER = 2**16
# The overshoot of an earlier resampling may pass; 0..255 and −1..1 are mistaken for [0,1].
_OVERSHOOT = 0.25


@final
class Upscaler:
    """Image in, image out, ``scale`` times as large.

    Gray stays gray, 16 bits stay 16 bits, alpha stays alpha: it is enlarged bicubically, and pixels that are
    transparent, or as good as (alpha below 8 of 255), take the colour of their nearest visible neighbour
    before the network sees them. With a generator of colour, gray is repeated in three channels and the
    result averaged, also gray that is stored as RGB; a generator of gray (one channel) enlarges each channel
    of a colour image for itself.

    Args:
        model: A name (``gan``, ``RealESRGAN_x4plus``), ``hf:USER/REPO``, a file of weights, an ONNX file, or
            a generator (B,C,h,w) → (B,C,s·h,s·w) in [0,1], C 3 or 1, with ``scale``; this one is copied.
        device: Where the network runs: ``cpu``, ``cuda``, ``cuda:1`` … By default where the given generator
            lies; for a file the GPU, or the CPU where there is none. Images stay where they are: only what
            the network works on is moved.
        tile: As in :class:`~esrgan_lightning.inference.Runner`: ``auto``, ``exact``, the side of the squares
            in LR pixels, or None for the whole image at once.
        overlap: LR pixels of surroundings on each side of a tile. The picture equals the whole one where this
            covers the network's receptive field, which for RRDB networks costs more than it is worth. With 6
            blocks, on a photo in tiles of 48, the mean difference is 0.13 of 255 levels at 32, 1.1 at 16.
        scale: Size of the result over that of the image, 1 to 64; by default the model's own. The model runs
            once, or on its own result again until the scale is reached; what is too large is then reduced
            with ``imresize``.
        tta: The mean over the image turned and mirrored eight ways: eight times the work.
        back_projection: Iterations of :class:`~esrgan_lightning.ops.BackProjection` after it; 0 is none.
        pre_pad: Pixels by which the LR's outermost rows and columns are repeated before the network sees it,
            and which are cut off the result. The network pads with zeros, that is with black; after a GAN
            stage white paper has an edge from that, which 4 pixels remove. 0 shows what the network itself
            does, as it is evaluated; ``esrgan upscale`` takes 8.
        precision: ``fp32``, ``bf16`` or ``fp16``, as in :class:`~esrgan_lightning.inference.Runner`.
        engine: ``torch``, or ``onnx`` for ONNX Runtime, as there: within a level, on a CPU often faster.
        model_scale: For a foreign file that does not tell its scale (see ``load_generator``).
        alpha_rgb: ``fill`` as above; ``keep`` leaves the colours under transparency as they are, for textures
            of games, whose alpha is no transparency.
        notice: Called with a line of text when memory is too little and pieces shrink; a warning by default.

    Raises:
        InputError: A file that is no generator, a generator without ``scale`` or of other channels than 3 or
            1, a device that is not there, and settings out of their range.

    Example:
        ``Upscaler("generator.safetensors", scale=2.7)(Image.open("photo.jpg")).save("large.png")``
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module,
        *,
        device: str | torch.device | None = None,
        tile: Tile = "auto",
        overlap: int = 32,
        scale: float | None = None,
        tta: bool = False,
        back_projection: int = 0,
        pre_pad: int = 0,
        precision: Precision = "fp32",
        engine: Engine = "torch",
        model_scale: int | None = None,
        alpha_rgb: Literal["fill", "keep"] = "fill",
        notice: Callable[[str], None] | None = None,
    ) -> None:
        generator = copy.deepcopy(model) if isinstance(model, nn.Module) else None
        parameter = None if generator is None else next(generator.parameters(), None)
        self.device = find_device(parameter.device if device is None and parameter is not None else device)
        if generator is None:
            path = model_path(model)  # type: ignore[arg-type]
            generator = load_exported(path) if is_exported(path) else load_generator(path, scale=model_scale)
        self.runner = Runner(
            generator,
            device=self.device,
            tile=tile,
            overlap=overlap,
            precision=precision,
            engine=engine,
            notice=notice,
        )
        own = self.runner.scale
        if model_scale not in (None, own):
            raise InputError(f"model_scale={model_scale} was asked for and the generator has scale {own}")
        self.enlargement, self.tta, self.generator = enlargement(scale, own), tta, generator
        if alpha_rgb not in ("fill", "keep"):
            raise InputError(f"alpha_rgb={alpha_rgb} must be fill or keep")
        self.alpha_rgb = alpha_rgb
        self.back_projection = BackProjection(own, back_projection) if back_projection else None
        if pre_pad < 0:
            raise InputError(f"pre_pad={pre_pad} must be 0 or more pixels")
        self.pre_pad = pre_pad

    @property
    def scale(self) -> float:
        """Size of the result over that of the image."""
        return self.enlargement.scale

    def __call__(self, image: Any) -> Any:
        """Enlarges one image, or each of a list.

        Args:
            image: PIL image (its EXIF orientation is applied, a palette becomes RGB); NumPy array (H,W) or
                (H,W,C); tensor (C,H,W) or (B,C,H,W); the path of a file; or a list or tuple of these, of any
                sizes. Channels and values as for :meth:`upscale`.

        Returns:
            The same kind, channels and depth, a PIL image with its colour profile; a tensor (C,s·H,s·W),
            uint8 or uint16, for a path; a list for a list.

        Raises:
            InputError: as :meth:`upscale`; another kind of image, a PIL image of 32-bit samples, a file that
                is no image.
        """
        if isinstance(image, list | tuple):
            return [self(each) for each in image]
        if isinstance(image, str | os.PathLike):
            return self.upscale(read_image(image))
        if isinstance(image, Image.Image):
            colors = pil_colors(image)
            large = Image.fromarray(self._array(colors.pixels))
            large.info |= {key: image.info[key] for key in ("dpi", "gamma") if key in image.info}
            if colors.profile:
                large.info["icc_profile"] = colors.profile
            return large
        if isinstance(image, np.ndarray):
            return self._array(image)
        if isinstance(image, Tensor):
            return self.upscale(image)
        raise InputError(f"cannot upscale a {type(image).__name__}: give a path, PIL image, array or tensor")

    def upscale(self, image: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Enlarges a tensor.

        Args:
            image: (C,H,W) or (B,C,H,W); C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); uint8,
                uint16, or floating in [0,1].
            conditions: For a generator that takes maps: (K,H,W) or (B,K,H,W), floating in [0,1] or uint8.

        Returns:
            (…,C,ceil(s·H),ceil(s·W)), of the same dtype and on the same device; floating values are clamped
            to [0,1].

        Raises:
            InputError: Another shape, dtype or range, a network whose output is not finite or not s times its
                input, maps that are missing or do not fit, or a device whose memory does not suffice for the
                least piece.
        """
        batch = image if image.ndim == 4 else image[None]
        if batch.ndim != 4 or not 1 <= batch.shape[1] <= 4 or 0 in batch.shape:
            raise InputError(
                f"an image is (C,H,W) or (B,C,H,W) with C from 1 to 4, not {tuple(image.shape)} "
                "(arrays: (H,W) or (H,W,C))"
            )
        _check_values(batch)
        count = batch.shape[1] - (batch.shape[1] in (2, 4))
        colors, alpha = batch[:, :count], batch[:, count:]
        maps = _checked_maps(conditions, colors, self.generator, self.enlargement.passes)
        fill = alpha.shape[1] and self.alpha_rgb == "fill"
        large = self._colors(filled(colors, alpha) if fill else colors, maps)
        if alpha.shape[1]:
            small, alpha = alpha, self.enlargement.resized(alpha, self.scale, *batch.shape[-2:])
            large = torch.cat([large, alpha.clamp(0, 1) if small.is_floating_point() else alpha], 1)
        return large if image.ndim == 4 else large[0]

    def upscale_each(self, images: Sequence[Tensor]) -> list[Tensor | Exception]:
        """Enlarges (C,H,W) tensors together: up to ``TOGETHER`` LR pixels on the CPU's cores side by side.

        On another device, where they have one shape and dtype, as a batch; one by one where that fails.

        Returns:
            For each image what :meth:`upscale` gives, or the error that it alone raises.
        """
        if len({(image.shape, image.dtype) for image in images}) == 1 and self.device.type != "cpu":
            with suppress(InputError, RuntimeError, MemoryError):
                return list(self.upscale(torch.stack(list(images))))
        cores, small = torch.get_num_threads(), sum(image[0].numel() for image in images) <= TOGETHER
        workers = min(len(images), cores) if small and self.device.type == "cpu" else 1
        if workers < 2:
            return [self._attempt(image) for image in images]
        with sharing_cores(workers, threads=cores // workers) as pool:
            return list(pool.map(self._attempt, images))

    def _attempt(self, image: Tensor) -> Tensor | Exception:
        try:
            return self.upscale(image)
        except (InputError, RuntimeError, MemoryError) as error:
            return error

    def _colors(self, colors: Tensor, maps: Tensor | None) -> Tensor:
        gray = (colors == colors[:, :1]).flatten(1).all(1)
        if colors.shape[1] == 1 or not gray.any():
            return self._enlarged(colors, maps)
        if gray.all():  # stored as RGB: a network of colour would tint it
            return self._enlarged(colors[:, :1], maps).expand(-1, 3, -1, -1).contiguous()
        many: Sequence[Tensor | None] = [None] * len(colors) if maps is None else torch.split(maps, 1)
        return torch.cat([self._colors(*each) for each in zip(torch.split(colors, 1), many, strict=True)])

    def _enlarged(self, colors: Tensor, maps: Tensor | None) -> Tensor:
        steps = self.enlargement
        once = not self.tta and not self.back_projection and steps.passes == 1 and steps.reduction == 1
        if once and maps is None:
            return self._network(colors)  # stays in integers throughout
        exact = colors.dtype if colors.dtype == torch.float64 else torch.float32
        large = to_float(colors, exact)
        for _ in range(steps.passes):
            small, image = large, large if maps is None else torch.cat([large, maps.to(exact)], 1)
            large = self_ensemble(self._network, image) if self.tta else self._network(image)
            large = self.back_projection(large, small) if self.back_projection else large
        large = steps.resized(large, steps.reduction, *colors.shape[-2:])
        return from_float(large.clamp_(0, 1), colors.dtype)

    def _network(self, image: Tensor) -> Tensor:
        """(B,C,h,w) → (B,C,s·h,s·w), with the edges repeated outwards meanwhile."""
        if not self.pre_pad:
            return self.runner(image)
        height, width = image.shape[-2:]
        rows, columns = (
            torch.arange(-self.pre_pad, side + self.pre_pad, device=image.device).clamp(0, side - 1)
            for side in (height, width)
        )
        margin = self.pre_pad * self.runner.scale
        large: Tensor = self.runner(image[..., rows[:, None], columns])
        return large[..., margin:-margin, margin:-margin]

    def _array(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.ndim not in (2, 3):
            raise InputError(f"an array is (H,W) or (H,W,C), not {array.shape}")
        if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
            raise InputError(f"an array of {array.dtype}: give uint8, uint16, or floats in [0,1]")
        planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        native = np.array(planes, dtype=array.dtype.newbyteorder("="), order="C")
        large: NDArray[Any] = self.upscale(torch.from_numpy(native)).numpy()
        return large[0] if array.ndim == 2 else np.ascontiguousarray(large.transpose(1, 2, 0))


def _checked_maps(
    conditions: Tensor | None, image: Tensor, generator: nn.Module, passes: int
) -> Tensor | None:
    """(K,H,W) for all images or (B,K,H,W), floating in [0,1] or uint8 → (B,K,H,W), floating, for the images.

    None for a generator that takes none; ``passes`` is how often it will run over its own result.

    Raises:
        InputError: Maps are missing or not wanted, do not fit the image, or would not fit its result.
    """
    classes = conditions_of(generator)
    kind = type(generator).__name__
    if conditions is None and not classes:
        return None
    if conditions is None:
        raise InputError(
            f"{kind} takes maps of {', '.join(classes)}: give them (--maps DIR, or upscale(image, maps))"
        )
    if not classes:
        raise InputError(f"{kind} takes no maps: leave them away")
    if passes > 1:
        raise InputError(f"{kind} has maps for one pass: give a scale of at most its own")
    batch = conditions if conditions.ndim == 4 else conditions[None]
    size = (len(image), len(classes), *image.shape[-2:])
    if batch.shape[1:] != size[1:] or len(batch) not in (1, len(image)):
        raise InputError(f"maps of {tuple(conditions.shape)} where the image and {kind} ask for {size}")
    return to_float(batch).expand(size).to(image.device)


def find_device(device: str | torch.device | None) -> torch.device:
    """The device, if it is there; by default the GPU, or the CPU where there is none.

    Raises:
        InputError: It is not there.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device={device} cannot be used here: {first_line(error)}") from error
    return chosen


def _check_values(image: Tensor) -> None:
    if image.dtype in (torch.uint8, torch.uint16):
        return
    if not image.is_floating_point():
        raise InputError(f"an image of {image.dtype}: give uint8, uint16, or floats in [0,1]")
    low, high = float(image.min()), float(image.max())
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):  # NaN fails too
        raise InputError(f"floating images lie in [0,1], this one from {low:.4g} to {high:.4g}: rescale it")
