"""A trained generator as a function from image to image."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import from_float, imresize, read_image, to_float
from esrgan_lightning.ops.tiling import upscale_tiled
from esrgan_lightning.weights import load_generator


class Upscaler:
    """Image in, image out, ``scale`` times as large.

    Gray stays gray, alpha stays alpha (enlarged bicubically), 16 bits stay 16 bits.

    Args:
        model: a weight file, or a generator (B,3,h,w) → (B,3,s·h,s·w) in [0,1].
        device: where the network runs; the GPU if there is one by default. The image itself stays on the CPU.
        tile: side of the LR squares that go through the network one by one, or None for the whole image at
            once. Bounds the memory; tiles see only ``overlap`` pixels of their surroundings, so the picture
            differs slightly from the whole one.
        overlap: LR pixels of surroundings on each side of a tile.

    Example:
        ``Upscaler("generator.safetensors")(Image.open("photo.jpg")).save("large.png")``
    """

    def __init__(
        self,
        model: str | Path | nn.Module,
        *,
        device: str | torch.device | None = None,
        tile: int | None = None,
        overlap: int = 32,
    ) -> None:
        if tile is not None and tile < 1:
            raise InputError(f"tile={tile} must be at least 1 LR pixel, or left out")
        if overlap < 0:
            raise InputError(f"overlap={overlap} must not be negative")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        generator = model if isinstance(model, nn.Module) else load_generator(model)
        self.generator = generator.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.scale = int(generator.scale)  # type: ignore[arg-type]
        self.tile, self.overlap = tile, overlap

    def __call__(self, image: Any) -> Any:
        """Enlarges one image.

        Args:
            image: PIL image; NumPy array (H,W), (H,W,1…4), uint8, uint16 or float in [0,1]; tensor (C,H,W) or
                (B,C,H,W), likewise; or the path of a file.

        Returns:
            The same kind and depth; a tensor (C,H,W) for a path.
        """
        if isinstance(image, (str, Path)):
            return self.upscale(read_image(Path(image)))
        if isinstance(image, Image.Image):
            mode = image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB"
            array = np.asarray(image.convert(mode))
            return Image.fromarray(self._array(array), mode=None)
        if isinstance(image, np.ndarray):
            return self._array(image)
        if isinstance(image, Tensor):
            return self.upscale(image)
        raise InputError(f"cannot upscale a {type(image).__name__}: give a path, PIL image, array or tensor")

    def _array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        flat = array.ndim == 2
        tensor = torch.from_numpy(np.ascontiguousarray(array[None] if flat else array.transpose(2, 0, 1)))
        large = self.upscale(tensor).numpy()
        return np.ascontiguousarray(large[0] if flat else large.transpose(1, 2, 0))

    def upscale(self, image: Tensor) -> Tensor:
        """(C,H,W) or (B,C,H,W) with C 1…4, uint8, uint16 or float in [0,1] → the same, s times as large."""
        batch = image if image.ndim == 4 else image[None]
        if batch.ndim != 4 or not 1 <= batch.shape[1] <= 4 or 0 in batch.shape:
            raise InputError(
                f"an image is (C,H,W) or (B,C,H,W) with 1 to 4 channels, not {tuple(image.shape)}"
            )
        values = to_float(batch.cpu())
        alpha = values[:, -1:] if values.shape[1] in (2, 4) else None
        color = values[:, : values.shape[1] - (alpha is not None)]
        large = self._network(color.expand(-1, 3, -1, -1))
        if color.shape[1] == 1:
            large = large.mean(1, keepdim=True)
        if alpha is not None:
            large = torch.cat([large, imresize(alpha, self.scale).clamp(0, 1)], 1)
        result = from_float(large, image.dtype)
        return result if image.ndim == 4 else result[0]

    @torch.inference_mode()
    def _network(self, rgb: Tensor) -> Tensor:
        if self.tile is None:
            return self._run(rgb)
        return upscale_tiled(self._run, rgb, scale=self.scale, tile=self.tile, overlap=self.overlap)

    def _run(self, rgb: Tensor) -> Tensor:
        sr: Tensor = self.generator(rgb.to(self.device)).float().clamp(0, 1).cpu()
        return sr
