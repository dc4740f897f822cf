"""How fast is a folder of small pictures enlarged, against one file after the other?

All ways read, enlarge and write the same PNG files, in turn: a loop over the files with PNG at zlib's level
6, and ``esrgan upscale`` as it is (the next are read and the last written while the network works, small
pictures go beside one another), by PyTorch and by ONNX Runtime. Times are medians over rounds, the ratio the
median of the paired ones. The last lines compare PNG's levels on a photo.

    python benchmarks/files.py --files 200 --side 64
    python benchmarks/files.py --quick          # eight files, a tiny network
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from _measure import paired_ratio
from PIL import Image

from esrgan_lightning import Upscaler
from esrgan_lightning.cli.upscaling import Job, upscale_files
from esrgan_lightning.data import embedded_photos
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_image, read_rgb, write_image
from esrgan_lightning.ops.files import write_whole
from esrgan_lightning.weights.names import model_path

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Pairs = list[tuple[Path, Path]]


def png(image: Image.Image, level: int, **strategy: int) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level, **strategy)
    return buffer.getvalue()


def by_turns(upscaler: Upscaler, pairs: Pairs) -> None:
    """One file after the other."""
    for source, target in pairs:
        large = upscaler.upscale(read_image(source))
        write_whole(target, png(Image.fromarray(large.permute(1, 2, 0).numpy()), level=6))


def as_it_is(upscaler: Upscaler, pairs: Pairs) -> None:
    """The command's own way."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert upscale_files(upscaler, pairs, Job(".png", overwrite=True)) == 0


def crops(photo: Path, folder: Path, files: int, side: int) -> list[Path]:
    """So many squares of a photo as files."""
    image = read_rgb(photo)
    places = torch.Generator().manual_seed(0)
    paths = [folder / f"{index:04}.png" for index in range(files)]
    for path in paths:
        top, left = (
            int(torch.randint(length - side + 1, (1,), generator=places)) for length in image.shape[1:]
        )
        write_image(path, image[:, top : top + side, left : left + side])
    return paths


def contest(args: argparse.Namespace, ways: Mapping[str, Callable[[Pairs], None]], folder: Path) -> None:
    """The ways in turn."""
    sources = crops(args.image, folder, args.files, args.side)
    pairs = {name: [(path, folder / name / path.name) for path in sources] for name in ways}
    taken: dict[tuple[str, str], list[float]] = {(name, clock): [] for name in ways for clock in CLOCKS}
    for name, way in ways.items():  # not timed
        way(pairs[name][:8])
    for number in range(args.rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            before = {clock: read() for clock, read in CLOCKS.items()}
            ways[name](pairs[name])
            for clock, read in CLOCKS.items():
                taken[name, clock].append(read() - before[clock])
    first, *others = ([read_image(target).int() for _, target in pairs[name]] for name in ways)
    differ = max(int((a - b).abs().max()) for each in others for a, b in zip(first, each, strict=True))
    print(
        f"{args.files} files of {args.side}×{args.side}, {torch.get_num_threads()} threads, "
        f"{args.rounds} rounds, results differ by {differ} levels at most"
    )
    print("| way | wall ms a file | × faster | CPU ms a file | × less |\n|---|---:|---:|---:|---:|")
    for name in ways:
        cells = [f"| {name} "]
        for clock in CLOCKS:
            own = taken[name, clock]
            ratio = paired_ratio(taken["by turns", clock], own)
            cells.append(f"| {statistics.median(own) / args.files * 1e3:.1f} | {ratio:.2f} ")
        print("".join(cells) + "|")


def levels(photo: Path, rounds: int) -> None:
    """What PNG's levels cost on a photo."""
    image = Image.open(photo).convert("RGB")
    pixels = image.width * image.height
    print(f"\nPNG of {photo.name}\n| PNG | CPU ms a megapixel | bytes a pixel |\n|---|---:|---:|")
    ways = {f"level {level}": {"level": level} for level in (1, 3, 4, 6)}
    ways["run lengths"] = {"level": 1, "compress_type": zlib.Z_RLE}
    for name, how in ways.items():
        taken = []
        for _ in range(rounds):
            start = time.process_time()
            data = png(image, **how)
            taken.append(time.process_time() - start)
        print(f"| {name} | {statistics.median(taken) / pixels * 1e9:.0f} | {len(data) / pixels:.3f} |")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="gan", help="as of esrgan upscale")
    parser.add_argument("--image", type=Path, default=embedded_photos()[0].hr, help="the LR pictures' source")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="eight files, a tiny network, one round")
    args = parser.parse_args(argv)
    if args.quick:
        args.files, args.side, args.rounds = 8, 24, 1
    network = (
        RRDBNet(num_features=8, growth_channels=4, num_blocks=1) if args.quick else model_path(args.model)
    )
    with tempfile.TemporaryDirectory() as folder:
        torch_, onnx = (Upscaler(network, device="cpu", pre_pad=8, engine=each) for each in ("torch", "onnx"))
        ways = {
            "by turns": partial(by_turns, torch_),
            "esrgan upscale": partial(as_it_is, torch_),
            "esrgan upscale --engine onnx": partial(as_it_is, onnx),
        }
        contest(args, ways, Path(folder))
    levels(args.image, args.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
