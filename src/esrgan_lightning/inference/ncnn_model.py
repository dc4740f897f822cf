"""ncnn's networks as generators, on the CPU."""

from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.ncnn_param import read_param
from esrgan_lightning.networks.rrdb import pad_to_fold


@final
class NcnnGenerator(nn.Module):
    """An ncnn network as a generator; see :func:`read_ncnn`.

    Attributes:
        scale: s.
        in_channels: Of the image, 3 or 1.
        out_channels: Of the result.
        fold: Sides of tiles begin at multiples of this; other sizes are filled up as
            :class:`~esrgan_lightning.networks.RRDBNet` fills them up.

    Shape:
        (B,C,h,w) in [0,1], any floating type and device → (B,C,s·h,s·w), float32, on the same device.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import ncnn
        except ImportError as error:
            raise InputError(
                "ncnn files need the extra ncnn: pip install 'esrgan-lightning[ncnn]'"
            ) from error
        found = read_param(path)
        self.scale, self.fold = found.scale, found.fold
        self.in_channels, self.out_channels = found.channels, found.made
        self._input, self._output, self._path, self._ncnn = found.input, found.output, path, ncnn
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = torch.get_num_threads()
        # Arithmetic in float32, also where the weights are stored in half of it.
        self._net.opt.use_fp16_arithmetic = self._net.opt.use_bf16_storage = False
        if self._net.load_param(str(path)) or self._net.load_model(str(path.with_suffix(".bin"))):
            raise InputError(f"{path}: ncnn does not read it")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: nothing in it changes, and a network of ncnn cannot be copied."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,h,w) → (B,C,s·h,s·w).

        Raises:
            torch.OutOfMemoryError: ncnn runs the network, and has nothing to show for it.
        """
        height, width = x.shape[-2:]
        padded = pad_to_fold(x.detach().to("cpu", torch.float32), self.fold)
        images = torch.stack([self._run(image) for image in padded])
        return images[..., : self.scale * height, : self.scale * width].to(x.device)

    def _run(self, image: Tensor) -> Tensor:
        run = self._net.create_extractor()
        array = image.contiguous().numpy()  # a name of its own: ncnn reads it later, and keeps it not alive
        run.input(self._input, self._ncnn.Mat(array))
        code, made = run.extract(self._output)
        if code:  # whatever else could fail has been checked in read_param
            size = f"{image.shape[-2]}×{image.shape[-1]} pixels (H×W)"
            raise torch.OutOfMemoryError(f"{self._path}: ncnn does not run it on {size} (code {code})")
        return torch.from_numpy(np.array(made))


def read_ncnn(path: Path) -> NcnnGenerator:
    """Reads an ncnn network of convolutions from image to image, whoever wrote it.

    Args:
        path: The .param, as text, with the .bin beside it.

    Raises:
        InputError: Another kind of network, or files that do not belong together, or the extra ``ncnn`` is
            not installed.
    """
    return NcnnGenerator(path)
