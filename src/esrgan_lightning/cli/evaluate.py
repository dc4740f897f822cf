"""``esrgan-evaluate``: models × sets."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError

from esrgan_lightning.cli.errors import one_line_errors, run_hydra
from esrgan_lightning.config import check_sections, chosen_metrics, compose, expand_home
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import as_text, write_text, write_whole, writing
from esrgan_lightning.ops.formats import format_of
from esrgan_lightning.weights.names import model_path

if TYPE_CHECKING:
    from esrgan_lightning.evaluation import Plane


def as_list(cfg: DictConfig, key: str, example: str) -> list[str]:
    """The values of a key; a single one needs no brackets."""
    value = None if OmegaConf.is_missing(cfg, key) else cfg[key]
    values = [str(item) for item in value] if isinstance(value, ListConfig) else [str(value)]
    if value is None or not values:
        raise InputError(f"{key} has no value: {key}={example}")
    return values


def run(cfg: DictConfig) -> dict[str, Any]:
    """Prints the table and writes the files; everything is checked before a model runs.

    Raises:
        SystemExit: With code 1, after all is printed and written, where ``against`` finds anything worse.
    """
    cfg = expand_home(cfg)
    _check_keys(cfg)
    check_sections(cfg, "weights", "tolerances")
    names = as_list(cfg, "models", "[psnr,gan]")
    root = Path(as_list(cfg, "root", "FOLDER_OF_SETS")[0])
    against = None if cfg.against is None else Path(str(cfg.against))
    _check_early(names, root, against)
    chosen = chosen_metrics(cfg.metrics)
    # Imported here: `--help`, `--cfg job` and what is wrong so far are told at once.
    from esrgan_lightning import evaluation
    from esrgan_lightning.inference import NetworkPair

    if cfg.bicubic and evaluation.BICUBIC not in names:
        names.insert(0, evaluation.BICUBIC)
    metrics = list(chosen)
    plane, ends = _asked_plane(cfg, names)
    if plane:
        metrics += [metric for metric in (plane.x, plane.y) if metric not in metrics]
    given = {str(name): path for name, path in cfg.weights.items()}
    for name, settings in chosen.items():
        if unknown := sorted(set(settings) - {"weights"}):
            raise InputError(f"metrics: {name} has no setting {unknown[0]}: there is weights")
        given[name] = settings.get("weights", given.get(name))
    weights = {name: Path(str(path)) for name, path in given.items() if path is not None}
    tolerances = {str(name): float(_number(cfg, f"tolerances.{name}", 0)) for name in cfg.tolerances}
    scale, processes = _count(cfg, "scale", 1), _count(cfg, "processes", 1)
    tile = None if cfg.tile is None else _count(cfg, "tile", 1)
    tiling = {"device": cfg.device, "tile": tile, "overlap": _count(cfg, "overlap", 0)}
    out, folder = _output(as_list(cfg, "out", "evaluation.json")[0])
    gallery = evaluation.Gallery(_count(cfg, "crop", 1), _count(cfg, "crops", 1))
    earlier = None if against is None else evaluation.read_results(against)
    if against is not None and against.resolve() == out.resolve():
        raise InputError(f"out={out} would replace what is compared with: give another out=")
    wanted = as_list(cfg, "sets", "[set5,set14]")
    sets = {as_text(name.lower()): evaluation.find_set(root, name, scale) for name in wanted}
    models = evaluation.load_models(names, scale, **tiling)
    if plane and ends:
        pair = NetworkPair.read(*ends, scale=scale, **tiling)
        if pair.warning:
            print(f"esrgan-evaluate: warning: {pair.warning}", file=sys.stderr)
        models |= {name: pair.at(alpha) for name, alpha in plane.curve.items() if 0 < alpha < 1}
    results = evaluation.evaluate(
        models,
        sets,
        scale=scale,
        metrics=metrics,
        weights=weights,
        device=cfg.device,
        processes=processes,
        gallery=gallery if folder else None,
    )
    evaluation.print_table(results, metrics, scale=scale)
    evaluation.write_json(out, results)
    written = [out]
    if folder:
        for suffix, text in {
            ".csv": evaluation.csv_table(results, metrics),
            ".md": evaluation.markdown_table(results, metrics, scale=scale),
            ".tex": evaluation.latex_table(results, metrics, scale=scale),
            ".html": evaluation.html_page(results, gallery, metrics, scale=scale),
        }.items():
            written.append(out.with_suffix(suffix))
            write_text(written[-1], text)
    if plane:
        written.append(out.with_name(f"{out.stem}_plane.png"))
        with writing(written[-1]):
            write_whole(written[-1], evaluation.plane_png(results, plane, scale=scale))
    print(f"written: {', '.join(map(str, written))}")
    if earlier is not None:
        comparison = evaluation.compare(results, earlier, tolerances)
        evaluation.print_comparison(comparison)
        if comparison.failed:
            sys.exit(1)
    return results


def _check_keys(cfg: DictConfig) -> None:
    try:
        OmegaConf.merge(compose(config="evaluate"), cfg)
    except ConfigKeyError as error:
        raise InputError(
            f"{error.full_key}: there is no such key (`esrgan-evaluate --cfg job` shows all)"
        ) from error


def _check_early(names: list[str], root: Path, against: Path | None) -> None:
    for name in names:
        path = model_path(name, key="models=", also=("bicubic",)) if name != "bicubic" else None
        if path is not None and not path.is_dir() and path.suffix.lower() != ".onnx":
            format_of(path)
    if not root.is_dir():
        raise InputError(f"root={root} is not a folder: give the folder that holds the sets")
    if against is not None and not against.is_file():
        raise InputError(f"against={against} cannot be read: there is no such file")


def _asked_plane(cfg: DictConfig, names: Sequence[str]) -> "tuple[Plane | None, list[Path]]":
    """What ``plot=plane`` draws, and the files at the ends of its curve; (None, []) where none is asked for.

    Raises:
        InputError: Another plot, metrics that do not serve, or a curve that is not between two of the models.
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
    short = dict(zip(names, unique_names(names), strict=True))
    shown = {model_path(name): short[name] for name in names if name != BICUBIC}
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


def _output(given: str) -> tuple[Path, bool]:
    """The JSON file, and whether it lies in a folder made for all that there is to write."""
    out = Path(given)
    if out.is_dir() or given.endswith("/") or not out.suffix:
        return out / "evaluation.json", True
    if out.suffix != ".json":
        raise InputError(f"out={given}: give a name ending in .json for that file alone, or a folder for all")
    return out, False


def _number(cfg: DictConfig, key: str, least: int) -> float:
    value = OmegaConf.select(cfg, key)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= least:
        raise InputError(f"{key}={value} must be a number, at least {least}")
    return value


def _count(cfg: DictConfig, key: str, least: int) -> int:
    if (value := _number(cfg, key, least)) % 1:
        raise InputError(f"{key}={value} must be a whole number, at least {least}")
    return int(value)


@hydra.main(config_path="pkg://esrgan_lightning.conf", config_name="evaluate", version_base="1.3")
def _task(cfg: DictConfig) -> None:
    with one_line_errors("esrgan-evaluate"):
        run(cfg)


def main() -> None:
    """Entry point of the console script."""
    run_hydra("esrgan-evaluate", _task)
