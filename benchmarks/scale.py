"""What grows with the photos and with the processes: packing, opening, drawing, memory; and an update's time.

    python benchmarks/scale.py [--photos 10 1000 10000] [--large] [--processes 1 2 4] [--quick]

Photos are 32×32 PNG files of noise. ``pack`` and ``open`` are wall seconds, ``draw`` CPU time of a batch of
16 crops. ``file`` and ``memory`` are bytes a photo beyond its pixels: of the pack, and of Python's objects
once it is open. Each process has two images of a batch, one thread and a tiny network; gradients go through
gloo. Where processes are more than cores, they wait for one another.
"""

import argparse
import csv
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from esrgan_lightning.data import Pack, PatchDataset, PhotoSet, UpdateSampler, pack
from esrgan_lightning.data.degradations import Bicubic

SIDE, BATCH, BATCHES = 32, 16, 200
TINY = ("num_features=8", "num_blocks=1", "growth_channels=4")


def photos(folder: Path, number: int) -> Path:
    """So many files of one picture."""
    folder.mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    picture = io.BytesIO()
    Image.fromarray(levels).save(picture, "PNG")
    for index in range(number):
        (folder / f"{index:06}.png").write_bytes(picture.getvalue())
    return folder


def of_photos(source: Path, number: int) -> str:
    """A row of the table."""
    start = time.perf_counter()
    path = pack([source], source.with_suffix(".safetensors")).path
    packing = time.perf_counter() - start
    opening = []
    for _ in range(3):
        start = time.perf_counter()
        opened = Pack(path)
        opening.append(time.perf_counter() - start)
    beyond = path.stat().st_size / number - SIDE * SIDE * 3
    dataset = PatchDataset([PhotoSet(opened)], patch_size=16, scale=4, degradation=Bicubic())
    sampler = UpdateSampler(batch_size=BATCH, batches=BATCHES)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=lambda batch: batch)
    start = time.process_time()
    assert sum(1 for _ in loader) == BATCHES
    drawing = 1000 * (time.process_time() - start) / BATCHES
    tracemalloc.start()
    kept = Pack(path)
    memory = tracemalloc.get_traced_memory()[0] / number
    tracemalloc.stop()
    assert len(kept) == number
    seconds = f"{packing:.2f} | {statistics.median(opening):.4f}"
    return f"| {number:,} | {seconds} | {drawing:.2f} | {beyond:.0f} | {memory:.0f} |"


def of_processes(source: Path, processes: int, updates: int) -> float:
    """Milliseconds an update, the median of the last two thirds."""
    words = [f"generator.{size}" for size in TINY]
    words += ["stage=psnr", "preset=demo", "data=folder", f"data.train_dir={source}", "data.val_count=0"]
    words += [f"data.batch_size={2 * processes}", "data.patch_size=32", "data.num_workers=0", "trainer=ddp"]
    words += ["trainer.accelerator=cpu", f"trainer.devices={processes}", f"trainer.max_updates={updates}"]
    words += ["trainer.log_interval=5", f"trainer.val_interval={updates}", f"name=of_{processes}"]
    command = [str(Path(sys.executable).with_name("esrgan-train")), *words]
    settings = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(source.parent)}
    subprocess.run(command, cwd=source.parent, env=os.environ | settings, check=True, capture_output=True)
    with (source.parent / f"runs/of_{processes}/metrics.csv").open(newline="") as file:
        rates = [float(row["images_per_second"]) for row in csv.DictReader(file) if row["images_per_second"]]
    return 1000 * 2 * processes / statistics.median(rates[len(rates) // 3 :])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="*", default=[10, 1000, 10000])
    parser.add_argument("--large", action="store_true", help="also 100,000 photos")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="few photos, one process")
    options = parser.parse_args(arguments)
    if options.quick:
        options.photos, options.processes, options.updates = [10, 100], [1], 15
    numbers = [*options.photos, *([100_000] if options.large else [])]
    with tempfile.TemporaryDirectory() as folder:
        print("| photos | pack, s | open, s | draw, ms | file, bytes | memory, bytes |")
        print("|---:|---:|---:|---:|---:|---:|")
        for number in numbers:
            print(of_photos(photos(Path(folder, f"{number}"), number), number), flush=True)
        source = photos(Path(folder, "source"), 16)
        for processes in options.processes:
            taken = of_processes(source, processes, options.updates)
            print(f"{processes} processes: {taken:.1f} ms an update", flush=True)


if __name__ == "__main__":
    main()
