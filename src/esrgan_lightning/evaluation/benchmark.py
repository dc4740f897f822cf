"""Models × sets → metrics, as the literature's tables have them."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.sets import TestPair
from esrgan_lightning.inference import Upscaler
from esrgan_lightning.metrics import CONVENTION, niqe, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from esrgan_lightning.ops import imresize

Model = Callable[[Tensor], Tensor]
Results = dict[str, dict[str, dict[str, Any]]]

# name → (sr, hr, crop) → (B,)
METRICS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "psnr_y": psnr_y,
    "ssim_y": ssim_y,
    "psnr_rgb": psnr_rgb,
    "ssim_rgb": ssim_rgb,
    "niqe": lambda sr, _hr, crop: niqe(sr, crop),
}


def load_models(names: Sequence[str], scale: int, *, tile: int | None = None) -> dict[str, Model]:
    """``bicubic`` or weight files → functions from LR to SR, uint8 (C,h,w) both, by unique names."""
    models: dict[str, Model] = {}
    for name in names:
        if name == "bicubic":
            models["bicubic"] = lambda lr: imresize(lr, scale)
            continue
        upscaler = Upscaler(name, tile=tile)
        if upscaler.scale != scale:
            raise InputError(f"{name} is a x{upscaler.scale} model, but scale={scale}")
        models[unique_name(Path(name), models)] = upscaler.upscale
    return models


def unique_name(path: Path, taken: Mapping[str, Any]) -> str:
    """The file's stem, with its folders before it where the stem is taken, then with a number."""
    for candidate in (path.stem, f"{path.parent.name}/{path.stem}"):
        if candidate not in taken:
            return candidate
    return next(name for n in range(2, len(taken) + 3) if (name := f"{path.stem}-{n}") not in taken)


def evaluate(
    models: Mapping[str, Model],
    sets: Mapping[str, Sequence[TestPair]],
    *,
    scale: int,
    metrics: Sequence[str] = ("psnr_y", "ssim_y"),
    progress: bool = True,
) -> Results:
    """Metrics of each model on each image, and their means.

    Args:
        models: from LR to SR, by name.
        sets: image pairs, by set.
        scale: also the border that the metrics leave out.
        metrics: names among :data:`METRICS`.
        progress: show a bar.

    Returns:
        ``{set: {model: {metric: mean, …, "images": {image: {metric: value}}}}}``.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise InputError(f"metrics={unknown}: known are {', '.join(METRICS)}")
    results: Results = {}
    for set_name, pairs in sets.items():
        rows: dict[str, dict[str, Any]] = {name: {"images": {}} for name in models}
        for pair in track(pairs, description=set_name, disable=not progress, transient=True):
            lr, hr = pair.load(scale)
            for name, model in models.items():
                sr = model(lr)[None]
                values = {metric: float(METRICS[metric](sr, hr[None], scale)[0]) for metric in metrics}
                rows[name]["images"][pair.hr.stem] = values
        for row in rows.values():
            images = row["images"].values()
            means = {
                m: float(torch.tensor([v[m] for v in images], dtype=torch.float64).mean()) for m in metrics
            }
            row.update(means)
        results[set_name] = rows
    return results


def print_table(results: Results, metrics: Sequence[str], *, scale: int) -> None:
    """The means as a table, with the convention under it."""
    console = Console()
    for set_name, rows in results.items():
        table = Table(title=f"{set_name} x{scale}, mean of {len(next(iter(rows.values()))['images'])} images")
        table.add_column("model")
        for metric in metrics:
            table.add_column(metric, justify="right")
        for name, row in rows.items():
            table.add_row(name, *(f"{row[m]:.4f}" if "ssim" in m else f"{row[m]:.2f}" for m in metrics))
        console.print(table)
    console.print(CONVENTION, style="dim")


def write_json(path: Path, value: Any) -> None:
    """Writes under a temporary name, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    Path(temporary).replace(path)
