"""Two networks and all that lie between them."""

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.networks import build_network, conditions_of
from esrgan_lightning.weights import interpolate
from esrgan_lightning.weights.interpolation import kinship, read_alike

_KEPT = 8  # blends; the paper's network has 64 MiB


@final
class NetworkPair:
    """Enlarges with θ = (1−α)·θ_PSNR + α·θ_GAN; the networks of the last eight α are kept.

    One picture goes through a network at a time: what is called from several threads waits.

    Args:
        psnr: File of weights, at α = 0.
        gan: File of weights, at α = 1.
        device: Where the networks run, as in :class:`~esrgan_lightning.inference.Upscaler`.

    Raises:
        InputError: files that are no generators, not of one kind, or that take maps.

    Source:
        ESRGAN, section 3.4.
    """

    def __init__(self, psnr: Path, gan: Path, *, device: str | None = None) -> None:
        (first, second), spec, records = read_alike([psnr, gan])
        if conditions_of(build_network(spec)):
            raise InputError(f"{psnr} takes maps beside the picture; the page serves networks without them")
        self.names = (psnr.name, gan.name)
        self.warning = kinship(*records)
        self._lock = Lock()

        def network(alpha: float) -> Upscaler:
            generator = build_network(spec)
            generator.load_state_dict(interpolate(first, second, alpha))
            return Upscaler(generator, device=device, tile="auto", pre_pad=8)

        self._network = lru_cache(_KEPT)(network)
        self.scale = int(self._network(1.0).scale)

    def __call__(self, image: Tensor, alpha: float) -> Tensor:
        """(C,h,w) → (C,s·h,s·w) of the same dtype, by the network at α in [0,1].

        Raises:
            InputError: α outside [0,1]; a picture that no memory suffices for.
        """
        with self._lock:
            return self._network(round(alpha, 4)).upscale(image)
