"""How fast is upscaling, how much memory does it take, and how far from the whole image's result is it?

One image goes through one network by each way in turn, in interleaved rounds: whole, streamed (exact), as by
default (auto), by ONNX Runtime, in tiles with their surroundings (side+overlap), in half precision, and
through BasicSR's network in eager fp32 where it is installed (else through the same layers by the book) and
spandrel's, which has 32 growth channels. Ratios are medians of the paired ones. Errors are 8-bit levels
against the first way, the whole image in fp32; they mean something with real weights and a real picture
only. Peak memory is that of a process of its own, less that of one which only loads the network.

    python benchmarks/inference.py --weights net.safetensors --image photo.png --size 128 512
    python benchmarks/inference.py --weights net.safetensors --ways eager spandrel auto onnx --size 512 512
    python benchmarks/inference.py --weights net.safetensors --ways whole bf16 fp16 --error set5/*.png
    python benchmarks/inference.py --heights 250 1000 --size 0 4000   # is the peak independent of the height?
    python benchmarks/inference.py --quick                            # a tiny network, in seconds

BasicSR takes part where it is installed (``pip install --no-deps basicsr addict lmdb yapf future``).
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _measure import paired_ratio, peak_memory, synchronize
from torch import Tensor, nn

from esrgan_lightning.data import embedded_photos
from esrgan_lightning.inference import Runner
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_rgb, to_float, to_uint8
from esrgan_lightning.weights import load_generator

Way = Callable[[Tensor], Tensor]  # uint8 (1,3,h,w) → uint8 (1,3,s·h,s·w)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
EAGER, SPANDREL = "eager", "spandrel"
HALOS = [(side, overlap) for side in (48, 128, 256) for overlap in (10, 32)]
WAYS: dict[str, dict[str, Any]] = {  # name → Runner's settings
    "whole": {"tile": None},
    "auto": {},
    "onnx": {"engine": "onnx"},
    "exact": {"tile": "exact"},
    **{f"{side}+{overlap}": {"tile": side, "overlap": overlap} for side, overlap in HALOS},
    "bf16": {"tile": None, "precision": "bf16"},
    "fp16": {"tile": None, "precision": "fp16"},
    "exact bf16": {"tile": "exact", "precision": "bf16"},
}
DEFAULT = ["whole", EAGER, "onnx", "exact", "48+10", "48+32", "128+10", "128+32", "bf16", "exact bf16"]


def network(args: argparse.Namespace) -> nn.Module:
    """The file's, or one of random weights."""
    torch.manual_seed(0)
    if args.weights:
        return load_generator(args.weights)
    sizes = {"num_features": 8, "growth_channels": 4, "num_blocks": 1} if args.quick else {}
    return RRDBNet(**{"num_blocks": args.blocks} | sizes)


def eager_network(args: argparse.Namespace) -> tuple[str, nn.Module]:
    """Whose it is, and the network with the same weights."""
    from _rivals import basicsr_network  # loads Lightning, seconds that each measured process would pay

    return basicsr_network(network(args))


def spandrel_network(args: argparse.Namespace) -> nn.Module:
    """What other upscalers load the weights into."""
    from spandrel import ModelLoader  # type: ignore[import-untyped]

    net: nn.Module = ModelLoader().load_from_state_dict(dict(network(args).state_dict())).model
    return net.eval()


def way_of(name: str, args: argparse.Namespace) -> Way:
    """One way through the network, that holds the network alone."""
    if name in WAYS:
        return Runner(network(args), device=DEVICE, **WAYS[name])
    net = (spandrel_network(args) if name == SPANDREL else eager_network(args)[1]).to(DEVICE)

    def eager(image: Tensor) -> Tensor:
        with torch.no_grad():
            return to_uint8(net(to_float(image.to(DEVICE)))).to(image.device)

    return eager


def images(args: argparse.Namespace, files: list[Path]) -> list[Tensor]:
    """The middles of photos, (1,3,h,w) each, repeated where a photo is too small."""
    made = []
    for file in files:
        image = read_rgb(file)[None]
        height, width = (asked or own for asked, own in zip(args.size, image.shape[-2:], strict=True))
        image = image.repeat(1, 1, -(-height // image.shape[-2]), -(-width // image.shape[-1]))
        top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
        made.append(image[..., top : top + height, left : left + width].contiguous())
    return made


def errors(found: Tensor, whole: Tensor) -> tuple[float, int]:
    """Mean and largest difference in levels."""
    difference = (found.int() - whole.int()).abs()
    return difference.float().mean().item(), int(difference.max())


def contest(args: argparse.Namespace, argv: list[str]) -> None:
    """The table of times, memory and errors on one image."""
    (image,) = images(args, [args.image])
    pixels = image.shape[-2] * image.shape[-1]
    ways = {name: way_of(name, args) for name in args.ways}
    results = {name: way(image) for name, way in ways.items()}  # the first run of each is not timed
    taken: dict[tuple[str, str], list[float]] = {(name, clock): [] for name in ways for clock in CLOCKS}
    for number in range(args.rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            synchronize(DEVICE.type)
            before = {clock: read() for clock, read in CLOCKS.items()}
            ways[name](image)
            synchronize(DEVICE.type)
            for clock, read in CLOCKS.items():
                taken[name, clock].append(read() - before[clock])
    peaks = {name: peak(name, argv) for name in ("nobody", *ways)} if DEVICE.type == "cpu" else {}
    print(
        f"{image.shape[-2]}×{image.shape[-1]} LR pixels (H×W) of {args.image.name}, "
        f"{args.weights.name if args.weights else 'random weights'}, {DEVICE}, "
        f"{torch.get_num_threads()} threads, {args.rounds} rounds"
    )
    rival = eager_network(args)[0]
    print(f"torch {torch.__version__}; {EAGER}: {rival}, fp32, NCHW")
    print(
        "| way | wall µs per LR pixel | × faster | CPU µs | × less | peak memory | mean error | largest |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for name in ways:
        cells = [name]
        for clock in CLOCKS:
            own = taken[name, clock]
            cells.append(f"{statistics.median(own) / pixels * 1e6:.1f}")
            cells.append(f"{paired_ratio(taken[args.ways[0], clock], own):.2f}")
        mean, largest = errors(results[name], results[args.ways[0]])
        cells += [f"{peaks[name] - peaks['nobody']} MiB" if peaks else "–", f"{mean:.3f}", str(largest)]
        print(f"| {' | '.join(cells)} |")


def error_table(args: argparse.Namespace) -> None:
    """Errors alone, over several images."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in args.ways if name != "whole"}
    ways = {name: way_of(name, args) for name in ("whole", *found)}
    for image in images(args, args.error):
        whole = ways["whole"](image)
        for name, each in found.items():
            each.append(errors(ways[name](image), whole))
    print(f"{len(args.error)} images, {args.weights.name if args.weights else 'random weights'}, {DEVICE}")
    print("| way | mean error | largest error, of each image |")
    print("|---|---:|---|")
    for name, each in found.items():
        largest = ", ".join(str(worst) for _, worst in sorted(each, key=lambda pair: pair[1]))
        print(f"| {name} | {statistics.mean(mean for mean, _ in each):.3f} | {largest} |")


def peak(name: str, argv: list[str], height: int | None = None) -> int:
    """Largest size of a process of its own, in MiB."""
    command = [sys.executable, __file__, *argv, "--peak-of", name]
    command += [] if height is None else ["--height", str(height)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_of(args: argparse.Namespace) -> None:
    """One image by one way, or an image of so many rows streamed; prints the process's largest size."""
    if args.peak_of == "streamed":
        height, width = args.height, args.size[1]
        Runner(network(args), device=DEVICE, tile="exact")(
            torch.zeros(1, 3, height, width, dtype=torch.uint8)
        )
    else:
        (image,) = images(args, [args.image])
        way = way_of("whole" if args.peak_of == "nobody" else args.peak_of, args)
        if args.peak_of != "nobody":
            way(image)
    print(peak_memory() // 2**20)


def heights(args: argparse.Namespace, argv: list[str]) -> None:
    """Peak memory and time of streaming images of these heights."""
    width = args.size[1]
    runner = Runner(network(args), device=DEVICE, tile="exact")
    for height in args.heights:
        start = time.perf_counter()
        memory = peak("streamed", argv, height) - peak("nobody", argv)
        taken = time.perf_counter() - start
        print(
            f"{height}×{width} LR pixels (H×W), streamed: {memory} MiB, {taken:.0f} s; "
            f"planned: {runner.plan(height, width)}"
        )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="a generator's file; default: random weights")
    parser.add_argument("--blocks", type=int, default=6, help="of the network of random weights")
    parser.add_argument("--image", type=Path, default=embedded_photos()[0].hr, help="taken as the LR image")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(128, 256), metavar=("H", "W"), help="0: its own"
    )
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, EAGER, SPANDREL), default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--error", type=Path, nargs="+", help="errors on these images instead")
    parser.add_argument("--heights", type=int, nargs="+", help="memory of streaming at these heights instead")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--height", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a tiny network, one round")
    args = parser.parse_args(argv)
    if args.quick:
        args.rounds, args.size = 1, (40, 48)
    if args.peak_of:
        peak_of(args)
    elif args.heights:
        heights(args, argv)
    elif args.error:
        error_table(args)
    else:
        contest(args, argv)


if __name__ == "__main__":
    main(sys.argv[1:])
