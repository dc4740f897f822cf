"""Two networks and all that lie between them."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, Self, final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.upscaler import Upscaler
from esrgan_lightning.networks import build_network, conditions_of
from esrgan_lightning.weights import interpolate
from esrgan_lightning.weights.interpolation import ancestry_warning, load_compatible


@final
class NetworkPair:
    """Enlarges with θ = (1−α)·θ_PSNR + α·θ_GAN; the networks of the last few α are kept.

    One picture goes through a network at a time: what is called from several threads waits.

    Args:
        states: State dicts, at α = 0 and 1.
        spec: Of the network that both are of.
        keep: How many networks between are kept; the paper's has 64 MiB.
        **settings: Of :class:`~esrgan_lightning.inference.Upscaler`.

    Attributes:
        names: Of the files, where it was read from files.
        warning: What is to be said of the two: where the second was not trained from the first.

    Raises:
        InputError: Networks that take maps; as ``Upscaler``.

    Source:
        ESRGAN, section 3.4.
    """

    def __init__(
        self,
        states: Sequence[Mapping[str, Tensor]],
        spec: Mapping[str, Any],
        *,
        keep: int = 1,
        **settings: Any,
    ) -> None:
        if conditions_of(build_network(spec)):
            raise InputError(
                "the networks take maps: what lies between such is made by `esrgan interpolate`, as a file"
            )
        self.names: tuple[str, ...] = ()
        self.warning: str | None = None
        self._lock = Lock()

        def network(alpha: float) -> Upscaler:
            generator = build_network(spec)
            generator.load_state_dict(interpolate(states[0], states[1], alpha))
            return Upscaler(generator, **settings)

        self._network = lru_cache(keep)(network)
        self._again = partial(NetworkPair, states, spec, keep=keep, **settings)
        self.scale = int(self._network(1.0).scale)

    @classmethod
    def read(cls, psnr: Path, gan: Path, *, scale: int | None = None, **settings: Any) -> Self:
        """The pair of two files of weights.

        Args:
            psnr: At α = 0.
            gan: At α = 1.
            scale: That they must have; needed for foreign files that do not tell theirs.
            **settings: Of the class.

        Raises:
            InputError: Files that are no generators, not of one network, of another scale, or that take maps.
        """
        states, spec, records = load_compatible([psnr, gan], scale=scale)
        pair = cls(states, spec, model_scale=scale, **settings)
        pair.names, pair.warning = (psnr.name, gan.name), ancestry_warning(*records)
        return pair

    def __call__(self, image: Tensor, alpha: float) -> Tensor:
        """(C,h,w) → (C,s·h,s·w) of the same dtype, by the network at α in [0,1].

        Raises:
            InputError: α outside [0,1]; a picture that no memory suffices for.
        """
        with self._lock:
            return self._network(round(alpha, 4)).upscale(image)

    def at(self, alpha: float) -> Callable[[Tensor], Tensor]:
        """The network at α as a model of its own; it can be sent to another process."""
        return partial(self, alpha=alpha)

    def __reduce__(self) -> tuple[Callable[[], "NetworkPair"], tuple[()]]:
        return self._again, ()
