"""The whole way at a small size: PSNR stage, GAN stage, evaluation, interpolation, a picture."""

import itertools
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import LambdaCallback
from rich.console import Console

from esrgan_lightning.config import compose
from esrgan_lightning.data import embedded_photos
from esrgan_lightning.data.sources import HELD_OUT_PHOTOS
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import (
    Bicubic,
    Generator,
    Model,
    TestPair,
    evaluate,
    find_set,
    print_table,
    write_json,
)
from esrgan_lightning.metrics.measures import convention
from esrgan_lightning.ops import imresize, write_image
from esrgan_lightning.ops.cores import OtherWork, limit_threads
from esrgan_lightning.ops.picture import comparison, pixels_as_squares
from esrgan_lightning.training import quiet, train
from esrgan_lightning.weights import describe_file, interpolate_files

ALPHA = 0.8
PSNR_SHARE = 0.6
SLACK = 1.3
WARM_UP = 8  # updates that decode photos and choose kernels: they are not timed
METRICS = ("psnr_y", "ssim_y", "lpips", "niqe")
# What the PSNR stage has to gain on bicubic, in dB, and how far colors may move, in levels of 255.
GAIN = {"set5": 0.9, "photos": 0.4}
SHIFT = 1.0
SCALE = 4
# Crops for the picture, of edges and textures: set, image, top and left in HR pixels.
CROPS = (
    ("set5", "img_003", 72, 72),
    ("set5", "img_005", 12, 60),
    ("photos", "chelsea", 96, 144),
    ("photos", "flower", 150, 290),
)
CROP, ENLARGED = 96, 2  # the crops' side, and how many times it is drawn


def updates_within(seconds: float, overrides: Sequence[str], folder: Path) -> int:
    """How many updates this machine makes in that time, from some timed ones, fewer after 20 seconds.

    Where other work takes cores, the training has as many threads as there is room for.
    """
    others, duration = OtherWork(), _timed(overrides, folder)
    if limit_threads(others):
        duration = _timed(overrides, folder)
    return max(20, int(seconds / duration))


def _timed(overrides: Sequence[str], folder: Path) -> float:
    """Seconds of an update; the lower quartile: what the machine does when nothing else keeps it busy."""
    ends: list[float] = []

    def note(trainer: pl.Trainer, *_: Any) -> None:
        ends.append(time.perf_counter())
        timed, late = len(ends) - WARM_UP - 1, ends[-1] - ends[0] > 20
        trainer.should_stop = timed >= 30 or (late and timed >= 4)

    cfg = compose(*overrides, "trainer.max_updates=1000", "overwrite=true")
    train(cfg, folder, callbacks=[LambdaCallback(on_train_batch_end=note)])
    shutil.rmtree(folder)
    durations = [after - before for before, after in itertools.pairwise(ends[WARM_UP:])]
    return statistics.quantiles(durations, n=4)[0]


def run_demo(run_dir: Path, *, minutes: float, sets_root: Path | None) -> dict[str, Any]:
    """Trains, evaluates and draws; writes ``summary.json`` and ``comparison.png`` into ``run_dir``.

    There are the runs ``psnr`` and ``gan``, too. The two held-out photos are evaluated in any case.
    """
    quiet()
    if minutes <= 0:
        raise InputError(f"--minutes {minutes} must be positive")
    start, console = time.perf_counter(), Console()
    sets = {"photos": [TestPair(photo.hr, None) for photo in embedded_photos(HELD_OUT_PHOTOS)]}
    if sets_root is not None:
        sets = {"set5": find_set(sets_root, "set5", SCALE), **sets}
    psnr, gan, blend = run_dir / "psnr", run_dir / "gan", run_dir / "interp.safetensors"

    for stage, folder, share in (("psnr", psnr, PSNR_SHARE), ("gan", gan, 1 - PSNR_SHARE)):
        overrides = [f"stage={stage}", "preset=demo"]
        if stage == "gan":
            overrides.append(f"init='{psnr / 'generator.safetensors'}'")
            console.print("Perceptual features: EfficientNet-Lite0 with ImageNet weights (installed package)")
        updates = updates_within(minutes * 60 * share, overrides, run_dir / "timing")
        console.print(f"[bold]{stage} stage[/]: {updates} updates in about {minutes * share:.1f} minutes")
        # A machine that has become slower than it was when timed must not hold the demo up.
        minutes_at_most = minutes * share * SLACK + 1 / 3
        lengths = (f"trainer.max_updates={updates}", f"trainer.max_time={minutes_at_most}")
        train(compose(*overrides, *lengths, "overwrite=true"), folder)
        made = describe_file(folder / "generator.safetensors")["updates"]
        if made < updates:
            console.print(
                f"[red]{made} of {updates} updates[/]: the machine was busy; the figures suffer from that"
            )
    interpolate_files(psnr / "generator.safetensors", gan / "generator.safetensors", ALPHA, blend)

    files = {"psnr": psnr / "generator.safetensors", "interp": blend, "gan": gan / "generator.safetensors"}
    models: dict[str, Model] = {"bicubic": Bicubic(SCALE)}
    models |= {name: Generator(file, SCALE) for name, file in files.items()}
    results = evaluate(models, sets, scale=SCALE, metrics=METRICS)
    print_table(results, METRICS, scale=SCALE)
    write_image(run_dir / "comparison.png", draw(models, sets))
    shifts = {name: largest_shift(model, sets) for name, model in models.items()}
    for line in verdict(results, shifts):
        console.print(line)
    means = {s: {m: {k: row[k] for k in METRICS} for m, row in rows.items()} for s, rows in results.items()}
    summary: dict[str, Any] = {"convention": convention(METRICS), "results": means, "color_shift": shifts}
    summary["seconds"] = time.perf_counter() - start
    write_json(run_dir / "summary.json", summary)
    console.print(f"written: {run_dir / 'summary.json'}, {run_dir / 'comparison.png'}")
    return summary


def largest_shift(model: Model, sets: dict[str, list[TestPair]]) -> float:
    """The largest mean of ↓SR − LR over the pixels of a channel, of all images: levels of 0..255."""
    largest = 0.0
    for pair in (each for pairs in sets.values() for each in pairs):
        lr, _ = pair.load(SCALE)
        shrunk = imresize(model(lr).double(), 1 / SCALE)
        largest = max(largest, float((shrunk - lr).mean((1, 2)).abs().max()))
    return largest


def verdict(
    results: Mapping[str, Mapping[str, Mapping[str, float]]], shifts: Mapping[str, float]
) -> list[str]:
    """What the demo is to show, and whether this run shows it: a line each."""
    said = []
    for name, rows in results.items():
        gain = rows["psnr"]["psnr_y"] - rows["bicubic"]["psnr_y"]
        said.append((f"{name}: PSNR stage {gain:+.2f} dB on bicubic", f"{GAIN[name]} dB", gain >= GAIN[name]))
        before, after = rows["psnr"]["lpips"], rows["gan"]["lpips"]
        said.append((f"{name}: LPIPS {before:.3f} → {after:.3f} by the GAN stage", "less", after < before))
    shift = f"largest shift of a color {shifts['gan']:.2f} levels"
    said.append((shift, f"{SHIFT:g} level", shifts["gan"] < SHIFT))
    return [
        f"{'reached' if good else '[red]missed[/] '} {what} (asked: {asked})" for what, asked, good in said
    ]


def draw(models: dict[str, Model], sets: dict[str, list[TestPair]]) -> Any:
    """LR | bicubic | PSNR | interpolated | GAN | HR of a few fixed crops."""
    rows = []
    for set_name, image, top, left in CROPS:
        pair = next((pair for pair in sets.get(set_name, []) if pair.hr.stem == image), None)
        if pair is None:
            continue
        lr, hr = pair.load(SCALE)
        window = (slice(None), slice(top, top + CROP), slice(left, left + CROP))
        pictures = (pixels_as_squares(lr, SCALE), *(model(lr) for model in models.values()), hr)
        rows.append([pixels_as_squares(picture[window], ENLARGED) for picture in pictures])
    return comparison(rows, ["LR", "bicubic", "PSNR", f"interpolated α={ALPHA}", "GAN", "HR"])
