"""``esrgan-evaluate plot=plane``: its settings, its models, its files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.names import model_path

if TYPE_CHECKING:
    from esrgan_lightning.evaluation import Model, Plane, Results


def asked_plane(cfg: DictConfig, names: Sequence[str]) -> tuple[Plane | None, list[Path]]:
    """The plane and the files at the ends of its curve; (None, []) where none is asked for.

    Args:
        cfg: The whole configuration.
        names: Of the models, as they were given.

    Raises:
        InputError: Another plot, metrics that do not serve, or a curve that is not between two of the files.
    """
    from esrgan_lightning.evaluation import BICUBIC, Plane, unique_names

    if cfg.plot is None:
        return None, []
    if cfg.plot != "plane":
        raise InputError(f"plot={cfg.plot}: known is plane")
    settings = cfg.plane
    if not isinstance(settings.regions, bool):
        raise InputError(f"plane.regions={settings.regions} must be true or false")
    axes = str(settings.x), str(settings.y)
    if settings.curve is None:
        return Plane(*axes, regions=settings.regions), []
    given = settings.curve if isinstance(settings.curve, ListConfig) else [settings.curve]
    shown = {
        model_path(name): short
        for name, short in zip(names, unique_names(names), strict=True)
        if name != BICUBIC
    }
    ends = [model_path(str(name), key="plane.curve=") for name in given if name != BICUBIC]
    if len(set(ends)) != 2 or len(given) != 2 or not all(end in shown and end.is_file() for end in ends):
        asked = ",".join(map(str, given))
        raise InputError(f"plane.curve=[{asked}]: give two of models= that are networks, by name or file")
    between = {f"α {alpha:g}": alpha for alpha in _alphas(settings.alphas)}
    curve = {shown[ends[0]]: 0.0, **between, shown[ends[1]]: 1.0}
    if len({*shown.values(), *between}) < len(shown) + len(between):
        raise InputError(f"plane.curve: a model has one of the names {', '.join(between)}: rename its file")
    return Plane(*axes, curve, regions=settings.regions), ends


def _alphas(given: Any) -> list[float]:
    """Those between 0 and 1, ascending; the ends are models themselves."""
    values = list(given) if isinstance(given, ListConfig) else [given]
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)
    if not numbers or len(set(values)) < len(values) or not all(0 <= each <= 1 for each in values):
        raise InputError(f"plane.alphas={given}: give numbers from 0 to 1, each once")
    return sorted(float(each) for each in values if 0 < each < 1)


def blends(plane: Plane, ends: Sequence[Path], scale: int, **settings: Any) -> dict[str, Model]:
    """The models along the curve, by name; a warning where the second was not trained from the first.

    Args:
        plane: With a curve.
        ends: The files at its ends.
        scale: That they have.
        **settings: As of :class:`~esrgan_lightning.inference.Upscaler`.

    Raises:
        InputError: As :class:`~esrgan_lightning.inference.NetworkPair`.
    """
    from esrgan_lightning.inference import NetworkPair

    pair = NetworkPair.read(ends[0], ends[1], scale=scale, **settings)
    if pair.warning:
        print(f"esrgan-evaluate: warning: {pair.warning}", file=sys.stderr)
    return {name: pair.at(alpha) for name, alpha in plane.curve.items() if 0 < alpha < 1}


def write_plane(out: Path, results: Results, plane: Plane, *, scale: int) -> None:
    """Writes the picture beside ``out``: ``evaluation.json`` → ``evaluation_plane.png``.

    Raises:
        InputError: The file cannot be written there.
    """
    from esrgan_lightning.evaluation import plane_png
    from esrgan_lightning.ops.files import write_whole

    png = out.with_name(f"{out.stem}_plane.png")
    try:
        write_whole(png, plane_png(results, plane, scale=scale))
    except OSError as error:
        raise InputError(f"{png} cannot be written: {error.strerror}") from error
    print(f"written: {png}")
