"""Time per LR pixel of exports against the network in PyTorch: ``python benchmarks/exports.py MODEL``.

One process, the runtimes in turn, the same picture; CPU seconds beside wall seconds, for a machine that is
shared. Outputs are compared before anything is timed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from esrgan_lightning.export import export_generator
from esrgan_lightning.export.ncnn import run_ncnn
from esrgan_lightning.inference.onnx_model import load_exported
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights import load_generator


def runtimes(generator: nn.Module, folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    ways: dict[str, Callable[[Tensor], Tensor]] = {"PyTorch": generator.to(memory_format=torch.channels_last)}
    for name, suffix, half in (
        ("onnxruntime", "onnx", False),
        ("onnxruntime, --half", "onnx", True),
        ("ncnn", "param", False),
        ("ncnn, --half", "param", True),
    ):
        path = folder / f"{'half' if half else 'full'}.{suffix}"
        export_generator(generator, path, half=half)
        ways[name] = load_exported(path) if suffix == "onnx" else run_ncnn(path, generator)
    return ways


@torch.inference_mode()
def measure(ways: dict[str, Callable[[Tensor], Tensor]], side: int, rounds: int) -> None:
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    expected = ways["PyTorch"](x)
    far = {name: float((run(x) - expected).abs().max()) for name, run in ways.items()}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started, worked = time.perf_counter(), time.process_time()
            run(x)
            wall[name].append((time.perf_counter() - started) / side**2 * 1e6)
            cpu[name].append((time.process_time() - worked) / side**2 * 1e6)
    print("| | CPU µs / LR pixel | × PyTorch | wall µs | largest difference |\n|---|---:|---:|---:|---:|")
    for name in ways:
        ratio = statistics.median(own / torch_ for own, torch_ in zip(cpu[name], cpu["PyTorch"], strict=True))
        print(
            f"| {name} | {statistics.median(cpu[name]):.1f} | {ratio:.2f} | "
            f"{statistics.median(wall[name]):.1f} | {far[name]:.1g} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="a file of weights (default: 6 untrained blocks)")
    parser.add_argument("--side", type=int, default=128, help="of the square picture, in LR pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="whether it runs at all")
    given = parser.parse_args()
    generator = (
        load_generator(given.model) if given.model else RRDBNet(num_blocks=1 if given.quick else 6).eval()
    )
    side, rounds = (16, 1) if given.quick else (given.side, given.rounds)
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        measure(runtimes(generator, Path(folder)), side, rounds)


if __name__ == "__main__":
    main()
