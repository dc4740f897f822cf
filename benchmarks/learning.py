"""What does an hour of training teach? PSNR-Y on Set5 over time, this library beside BasicSR's trainer.

Each contender is the tool's own command in a process of its own, with so many threads. All start at once,
on the same sub-images (HR 480×480 and their exact bicubic LR, the layout that BasicSR asks for), with the
small network, L1 and Adam at one constant rate in fp32. Each keeps its moving average beside the weights, but
the weights themselves are measured: an average of 0.999 lags a thousand updates behind. The newest checkpoint
is put aside every ten seconds; the copies are measured when all have ended.

    python benchmarks/learning.py --photos PHOTOS --set5 SET5/HR --minutes 20
    python benchmarks/learning.py --quick       # seconds, a tiny network, no BasicSR

BasicSR: ``pip install --no-deps basicsr addict lmdb yapf future``. It writes OUT/learning.csv and .png.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
import yaml  # type: ignore[import-untyped]

from esrgan_lightning import Upscaler
from esrgan_lightning.metrics import psnr_y
from esrgan_lightning.ops import imresize, list_images, read_rgb, to_uint8, write_image

RATE, EMA, BATCH, PATCH, SIDE = 1e-3, 0.999, 16, 64, 480
SMALL = {"num_features": 32, "num_blocks": 5, "growth_channels": 16}
TINY = {"num_features": 8, "num_blocks": 1, "growth_channels": 4}
SHIM = """import os, _rivals
_rivals._let_basicsr_import()
from basicsr.train import train_pipeline
train_pipeline(os.getcwd())
"""


def sub_images(photos: list[Path], out: Path, side: int) -> None:
    """Photos in squares without overlap: OUT/hr and OUT/lr, as PNG."""
    for name in ("hr", "lr"):
        (out / name).mkdir(parents=True)
    for path in photos:
        photo = read_rgb(path)
        for y in range(0, photo.shape[1] - side + 1, side):
            for x in range(0, photo.shape[2] - side + 1, side):
                hr = photo[:, y : y + side, x : x + side].contiguous()
                for folder, image in (("hr", hr), ("lr", imresize(hr, 0.25))):
                    write_image(out / folder / f"{path.stem}_{y}_{x}.png", image)


def noise(folder: Path) -> Path:
    """Two pictures of smooth noise."""
    folder.mkdir()
    for number in range(2):
        coarse = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(number))
        write_image(folder / f"{number}.png", to_uint8(imresize(coarse, 4)))
    return folder


def library(data: Path, sizes: dict[str, int], interval: int, *settings: str) -> list[str]:
    """The command of a run of this library."""
    return [
        str(Path(sys.executable).parent / "esrgan-train"), "stage=psnr", "preset=basicsr", *settings,
        *(f"generator.{key}={value}" for key, value in sizes.items()),
        "schedule=constant", f"optimizer.lr={RATE}", f"stage.ema_decay={EMA}",
        "data=folder", f"data.train_dir={data / 'hr'}", "data.val_count=1", "data.num_workers=0",
        f"data.patch_size={PATCH}", f"data.batch_size={BATCH}",
        "trainer.precision=32", "trainer.max_updates=10000000", "trainer.val_interval=10000000",
        "trainer.log_interval=50", f"trainer.checkpoint_interval={interval}",
    ]  # fmt: skip


def basicsr(data: Path, sizes: dict[str, int], interval: int, folder: Path) -> list[str]:
    """The command of a run of BasicSR, whose options are written into the folder."""
    options = {
        "name": "run", "model_type": "SRModel", "scale": 4, "manual_seed": 0,
        "num_gpu": int(torch.cuda.is_available()),
        "datasets": {"train": {
            "name": "sub-images", "type": "PairedImageDataset", "dataroot_gt": str(data / "hr"),
            "dataroot_lq": str(data / "lr"), "filename_tmpl": "{}", "io_backend": {"type": "disk"},
            "gt_size": PATCH, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0,
            "batch_size_per_gpu": BATCH, "dataset_enlarge_ratio": 100, "prefetch_mode": None,
        }},
        "network_g": {
            "type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": sizes["num_features"],
            "num_block": sizes["num_blocks"], "num_grow_ch": sizes["growth_channels"],
        },
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": EMA, "total_iter": 10**7, "warmup_iter": -1,
            "optim_g": {"type": "Adam", "lr": RATE, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [10**7], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "logger": {"print_freq": 50, "save_checkpoint_freq": interval, "use_tb_logger": False},
        "dist_params": {"backend": "nccl", "port": 29500},
    }  # fmt: skip
    (folder / "options.yml").write_text(yaml.safe_dump(options))
    return [sys.executable, "-c", SHIM, "-opt", str(folder / "options.yml")]


def newest(folder: Path) -> Path | None:
    """The checkpoint that was written last; BasicSR's lie in models/, ours in checkpoints/."""
    found = [*folder.rglob("net_g_*.pth"), *folder.rglob("checkpoints/last.ckpt")]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def race(
    commands: dict[str, Callable[[Path], list[str]]], out: Path, seconds: float, every: float, threads: int
) -> dict[str, list[tuple[float, Path]]]:
    """Runs all at once; of each, when a checkpoint was written (seconds since the start) and its copy."""
    runs, kept = {}, {name: list[tuple[float, Path]]() for name in commands}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(Path(__file__).parent)}
    start = time.time()
    for name, command in commands.items():
        folder = out / name.replace(" ", "_")
        folder.mkdir()
        with (folder / "log.txt").open("w") as log:
            runs[name] = (
                folder,
                subprocess.Popen(
                    command(folder), cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
                ),
            )
    try:
        while time.time() < start + seconds or not all(kept.values()):
            time.sleep(every)
            for name, (folder, process) in runs.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended early: {folder / 'log.txt'}")
                found = newest(folder)
                written = found.stat().st_mtime - start if found else 0
                if found and time.time() - found.stat().st_mtime > 1 and written not in dict(kept[name]):
                    copy = folder / f"at_{written:.0f}{found.suffix}"
                    shutil.copy(found, copy)
                    kept[name].append((written, copy))
    finally:
        for _, process in runs.values():
            process.send_signal(signal.SIGTERM)
        for _, process in runs.values():
            process.wait()
    return kept


def weights(checkpoint: Path) -> Path:
    """A file of the generator's weights alone, without the moving average."""
    contents = torch.load(checkpoint, weights_only=True)
    state = contents.get("params") or {
        name.removeprefix("generator."): tensor
        for name, tensor in contents["state_dict"].items()
        if name.startswith("generator.")
    }
    torch.save({"params": state}, file := checkpoint.with_suffix(".weights.pth"))
    return file


def worth(checkpoint: Path | None, pictures: list[Path]) -> float:
    """Mean PSNR-Y of its x4 pictures, four pixels cut off each side; of bicubic without a checkpoint."""
    upscaler = checkpoint and Upscaler(weights(checkpoint), device="cpu")
    found = []
    for path in pictures:
        hr = read_rgb(path)
        hr = hr[:, : hr.shape[1] // 4 * 4, : hr.shape[2] // 4 * 4]
        lr = imresize(hr, 0.25)
        sr = upscaler.upscale(lr) if upscaler else imresize(lr, 4)
        found.append(psnr_y(sr[None], hr[None], crop=4).item())
    return sum(found) / len(found)


def plot(rows: dict[str, list[tuple[float, float]]], bicubic: float, path: Path) -> None:
    """PSNR-Y over minutes, a line for each contender."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, points in rows.items():
        axes.plot([x / 60 for x, _ in points], [y for _, y in points], marker="o", ms=3, label=name)
    axes.axhline(bicubic, color="gray", ls=":", label="bicubic")
    axes.set(xlabel="minutes of training", ylabel="PSNR-Y, Set5 (dB)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> None:
    """Trains, measures, prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="folder of photos to train on")
    parser.add_argument("--set5", type=Path, help="folder of HR pictures to measure with")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--out", type=Path, default=Path("learning"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args(argv)
    if not args.quick and not (args.photos and args.set5):
        parser.error("--photos and --set5 are needed")
    sizes, interval, seconds, every = (
        (TINY, 50, 5.0, 0.5) if args.quick else (SMALL, 100, args.minutes * 60, 10.0)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        photos = list_images(args.photos or noise(out / "photos"))
        sub_images(photos, out / "data", 128 if args.quick else SIDE)
        print(len(list((out / "data" / "hr").iterdir())), "sub-images", flush=True)
        near = ("generator.init_scope=dense", "generator.init_scale=1.0", "generator.bilinear_init=true")
        commands: dict[str, Callable[[Path], list[str]]] = {
            "this library": lambda _: library(out / "data", sizes, interval, *near),
        }
        if not args.quick:
            commands["this library, BasicSR's start"] = lambda _: library(out / "data", sizes, interval)
            if find_spec("basicsr"):
                commands["BasicSR"] = lambda folder: basicsr(out / "data", sizes, interval, folder)
        kept = race(commands, out, seconds, every, args.threads)
        pictures = list_images(args.set5) if args.set5 else photos[-1:]
        rows = {}
        for name, copies in kept.items():
            step = max(1, len(copies) // 24)
            rows[name] = [(at, worth(copy, pictures)) for at, copy in [*copies[::-1][::step]][::-1]]
        bicubic = worth(None, pictures)
    with (args.out / "learning.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("contender", "seconds", "psnr_y"), *((name, *point) for name in rows for point in rows[name])]
        )
    plot(rows, bicubic, args.out / "learning.png")
    print("| after | " + " | ".join(rows) + " |\n|---:|" + "---:|" * len(rows))
    end = max(at for points in rows.values() for at, _ in points)
    for until in (end * part for part in (0.1, 0.25, 0.5, 0.75, 1.0)):
        cells = [[y for x, y in points if x <= until] for points in rows.values()]
        print(
            f"| {until / 60:.1f} min | " + " | ".join(f"{c[-1]:.2f} dB" if c else "–" for c in cells) + " |"
        )
    print(f"bicubic {bicubic:.2f} dB")


if __name__ == "__main__":
    main()
