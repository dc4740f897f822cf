"""What lies between two generators' files, as models."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import final

from torch import Tensor

from esrgan_lightning.inference import Upscaler
from esrgan_lightning.inference.upscaler import find_device
from esrgan_lightning.networks import build_network
from esrgan_lightning.weights import interpolate
from esrgan_lightning.weights.interpolation import read_alike


@final
class Blend:
    """The network between two files' as a model; another process, to which it is sent, reads them itself.

    Args:
        files: Of weights, at α = 0 and 1; generators that take no maps.
        alpha: α in [0,1].
        scale: That they must have.
        device: As in :class:`~esrgan_lightning.inference.Upscaler`.
        tile: Likewise.
        overlap: Likewise.

    Raises:
        InputError: α outside [0,1]; files that are no generators, of another scale, or not of one network.

    Source:
        ESRGAN, section 3.4.
    """

    def __init__(
        self,
        files: Sequence[Path],
        alpha: float,
        scale: int,
        *,
        device: str | None = None,
        tile: int | None = None,
        overlap: int = 32,
    ) -> None:
        self._again = partial(Blend, files, alpha, scale, device=device, tile=tile, overlap=overlap)
        (first, second), spec, _ = read_alike(files, scale=scale)
        network = build_network(spec)
        network.load_state_dict(interpolate(first, second, alpha))
        self._upscaler = Upscaler(
            network, device=find_device(device), tile=tile, overlap=overlap, model_scale=scale
        )

    def __call__(self, lr: Tensor) -> Tensor:
        """(C,h,w) → (C,s·h,s·w)."""
        return self._upscaler.upscale(lr)

    def __reduce__(self) -> tuple[Callable[[], "Blend"], tuple[()]]:
        return self._again, ()
