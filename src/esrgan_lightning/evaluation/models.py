"""The models of an evaluation by unique names: bicubic, generators from files, folders of pictures."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.benchmark import Model
from esrgan_lightning.evaluation.sets import Pictures
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops import imresize
from esrgan_lightning.ops.files import as_text
from esrgan_lightning.weights.names import is_name, model_path

#: The name that stands for MATLAB's bicubic interpolation instead of a file.
BICUBIC = "bicubic"


@final
@dataclass(frozen=True)
class Bicubic:
    """MATLAB's bicubic interpolation as a model."""

    scale: int

    def __call__(self, lr: Tensor) -> Tensor:
        """(C,h,w) → (C,s·h,s·w)."""
        return imresize(lr, self.scale)


@final
class Generator:
    """A generator from a file as a model; another process, to which it is sent, reads the file itself.

    Args:
        file: Of weights.
        scale: That it must have.
        **settings: Of :class:`~esrgan_lightning.inference.Upscaler`, as ``device`` and ``tile``.

    Raises:
        InputError: As ``Upscaler``; a generator that takes maps.
    """

    def __init__(self, file: str | Path, scale: int, **settings: Any) -> None:
        self._again = partial(Generator, file, scale, **settings)
        self._upscaler = Upscaler(file, model_scale=scale, **settings)
        if conditions_of(self._upscaler.generator):
            raise InputError(
                f"models: {file} takes maps: make its pictures by `esrgan upscale --maps DIR`, and give "
                "their folder in its place"
            )

    def __call__(self, lr: Tensor) -> Tensor:
        """(C,h,w) → (C,s·h,s·w)."""
        return self._upscaler.upscale(lr)

    def __reduce__(self) -> tuple[Callable[[], "Generator"], tuple[()]]:
        return self._again, ()


def load_models(names: Sequence[str], scale: int, **settings: Any) -> dict[str, Model | Pictures]:
    """``bicubic``, networks by name, files of weights, folders of pictures → what :func:`evaluate` compares.

    Args:
        names: ``bicubic``, what ``load_generator`` takes (names, ``hf:USER/REPO``, files), or folders of
            :class:`~esrgan_lightning.evaluation.Pictures`.
        scale: That all of them must have.
        **settings: Of :class:`~esrgan_lightning.inference.Upscaler`, as ``device`` and ``tile``.

    Returns:
        By the names of :func:`unique_names`. They can be sent to other processes.

    Raises:
        InputError: A file that is missing, no generator, given twice, or of another scale.
    """
    models: dict[str, Model | Pictures] = {}
    for name, unique in zip(names, unique_names(names), strict=True):
        if name == BICUBIC:
            models[unique] = Bicubic(scale)
        elif (path := _path(name)).is_dir():
            models[unique] = Pictures(path)
        else:
            models[unique] = Generator(path, scale, **settings)
    return models


def _path(name: str) -> Path:
    return model_path(name, key="models=", also=(BICUBIC,))


def unique_names(names: Sequence[str]) -> list[str]:
    """A short name for each: its stem, with folders before it where that is shared, or else its suffix.

    A name, or an address on the Hub, stays as it is. InputError for one that is given twice.

    Example:
        >>> unique_names(["bicubic", "runs/psnr/generator.safetensors", "runs/gan/generator.safetensors"])
        ['bicubic', 'psnr/generator', 'gan/generator']
    """
    paths = [(Path(name) if name == BICUBIC else _path(name)).absolute() for name in names]
    if len(set(paths)) < len(paths):
        twice = next(name for name, path in zip(names, paths, strict=True) if paths.count(path) > 1)
        raise InputError(f"models: {twice} is given twice")
    choices = []
    for name, path in zip(names, paths, strict=True):
        if name == BICUBIC or is_name(name):
            choices.append([name])
            continue
        parts = path.parts if path.is_dir() else path.with_suffix("").parts
        choices.append(["/".join(parts[-n:]) for n in range(1, len(parts))] + [str(path)])
    shared = Counter(option for options in choices for option in options)
    return [
        as_text(next((each for each in options if shared[each] == 1), options[-1])) for options in choices
    ]
