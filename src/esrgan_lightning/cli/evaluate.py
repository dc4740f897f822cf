"""``esrgan-evaluate``: models × sets."""

import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from esrgan_lightning.cli.errors import one_line_errors, run_hydra
from esrgan_lightning.cli.plane import asked_plane, blends, write_plane
from esrgan_lightning.config import chosen_metrics, compose, expand_home
from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.formats import format_of
from esrgan_lightning.weights.names import model_path


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
    names = as_list(cfg, "models", "[psnr,gan]")
    root = Path(as_list(cfg, "root", "FOLDER_OF_SETS")[0])
    against = None if cfg.against is None else Path(str(cfg.against))
    _check_early(names, root, against)
    # Imported here: `--help`, `--cfg job` and what is wrong so far are told at once.
    from esrgan_lightning.evaluation import (
        BICUBIC,
        Gallery,
        check_metrics,
        compare,
        evaluate,
        find_set,
        load_models,
        print_comparison,
        print_table,
        read_results,
    )

    if cfg.bicubic and BICUBIC not in names:
        names.insert(0, BICUBIC)
    chosen = chosen_metrics(cfg.metrics)
    metrics = list(chosen)
    check_metrics(metrics)
    plane, ends = asked_plane(cfg, names)
    if plane:
        metrics += [metric for metric in (plane.x, plane.y) if metric not in metrics]
    given = {str(name): path for name, path in cfg.weights.items()}
    for name, settings in chosen.items():
        if unknown := sorted(set(settings) - {"weights"}):
            raise InputError(f"metrics: {name} has no setting {unknown[0]}: there is weights")
        given[name] = settings.get("weights", given.get(name))
    weights = {name: Path(str(path)) for name, path in given.items() if path is not None}
    tolerances = {str(name): _tolerance(cfg, str(name)) for name in cfg.tolerances}
    scale, processes = _count(cfg, "scale", least=1), _count(cfg, "processes", least=1)
    tile = None if cfg.tile is None else _count(cfg, "tile", least=1)
    overlap = _count(cfg, "overlap", least=0)
    out, folder = _output(as_list(cfg, "out", "evaluation.json")[0])
    gallery = Gallery(_count(cfg, "crop", least=1), _count(cfg, "crops", least=1)) if folder else None
    earlier = None if against is None else read_results(against)
    if against is not None and against.resolve() == out.resolve():
        raise InputError(f"out={out} would replace what is compared with: give another out=")
    sets = {name.lower(): find_set(root, name, scale) for name in as_list(cfg, "sets", "[set5,set14]")}
    models = load_models(names, scale, device=cfg.device, tile=tile, overlap=overlap)
    if plane and ends:
        models |= blends(plane, ends, scale, device=cfg.device, tile=tile, overlap=overlap)
    results = evaluate(
        models,
        sets,
        scale=scale,
        metrics=metrics,
        weights=weights,
        device=cfg.device,
        processes=processes,
        gallery=gallery,
    )
    print_table(results, metrics, scale=scale)
    _write(out, results, metrics, scale, gallery)
    if plane:
        write_plane(out, results, plane, scale=scale)
    if earlier is not None:
        comparison = compare(results, earlier, tolerances)
        print_comparison(comparison)
        if comparison.failed:
            sys.exit(1)
    return results


def _check_keys(cfg: DictConfig) -> None:
    known: Any = OmegaConf.to_container(compose(config="evaluate"))
    given: Any = OmegaConf.to_container(cfg)
    for key, value in given.items():
        below = known.get(key)
        names = value if isinstance(value, dict) and isinstance(below, dict) else {}
        wrong = [key] if key not in known else [f"{key}.{name}" for name in names if name not in below]
        if wrong:
            raise InputError(f"{wrong[0]}: there is no such key (`esrgan-evaluate --cfg job` shows all)")


def _check_early(names: list[str], root: Path, against: Path | None) -> None:
    for name in names:
        path = model_path(name, key="models=", also=("bicubic",)) if name != "bicubic" else None
        if path is not None and not path.is_dir() and path.suffix.lower() != ".onnx":
            format_of(path)
    if not root.is_dir():
        raise InputError(f"root={root} is not a folder: give the folder that holds the sets")
    if against is not None and not against.is_file():
        raise InputError(f"against={against} cannot be read: there is no such file")


def _output(given: str) -> tuple[Path, bool]:
    """The JSON file, and whether it lies in a folder made for all that there is to write."""
    out = Path(given)
    if out.is_dir() or given.endswith("/") or not out.suffix:
        return out / "evaluation.json", True
    if out.suffix != ".json":
        raise InputError(f"out={given}: give a name ending in .json for that file alone, or a folder for all")
    return out, False


def _write(out: Path, results: dict[str, Any], metrics: list[str], scale: int, gallery: Any) -> None:
    from esrgan_lightning.evaluation import (
        csv_table,
        html_page,
        latex_table,
        markdown_table,
        write_json,
        write_text,
    )

    write_json(out, results)
    written = [out]
    if gallery is not None:
        for suffix, text in {
            ".csv": csv_table(results, metrics),
            ".md": markdown_table(results, metrics, scale=scale),
            ".tex": latex_table(results, metrics, scale=scale),
            ".html": html_page(results, gallery, metrics, scale=scale),
        }.items():
            written.append(out.with_suffix(suffix))
            write_text(written[-1], text)
    print(f"written: {', '.join(map(str, written))}")


def _count(cfg: DictConfig, key: str, *, least: int) -> int:
    value = cfg[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{key}={value} must be a whole number, at least {least}")
    return value


def _tolerance(cfg: DictConfig, name: str) -> float:
    value = cfg.tolerances[name]
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
        raise InputError(f"tolerances.{name}={value} must be a number, at least 0")
    return float(value)


@hydra.main(config_path="pkg://esrgan_lightning.conf", config_name="evaluate", version_base="1.3")
def _task(cfg: DictConfig) -> None:
    with one_line_errors("esrgan-evaluate"):
        run(cfg)


def main() -> None:
    """Entry point of the console script."""
    run_hydra("esrgan-evaluate", _task)
