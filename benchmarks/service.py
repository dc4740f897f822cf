"""How many images a second does `esrgan serve` answer, beside one process of ``Upscaler``?

The same files by turns: read, enlarged and encoded as PNG one after the other in this process; and sent to a
service by several clients at once. Both have the same threads.

    python benchmarks/service.py
    python benchmarks/service.py --sides 32 64 256 --clients 16 --workers 2
    python benchmarks/service.py --quick
"""

import argparse
import io
import os
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import torch

from esrgan_lightning import Upscaler
from esrgan_lightning.data import embedded_photos
from esrgan_lightning.ops import read_rgb
from esrgan_lightning.ops.encode import encode_image
from esrgan_lightning.ops.image import read_photo


def started(model: str, workers: int) -> tuple[subprocess.Popen[bytes], str]:
    """A service and its address, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "esrgan"), "serve", "-m", model, "--port", str(port)]
    process = subprocess.Popen([*command, "--workers", str(workers)], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return process, address
        except requests.ConnectionError:
            time.sleep(0.3)
    process.kill()
    raise SystemExit("the service does not start")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="gan")
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 256])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--quick", action="store_true", help="one round of few small images")
    args = parser.parse_args()
    if args.quick:
        args.sides, args.rounds, args.images, args.clients = [16], 1, 4, 2
    photo = read_rgb(embedded_photos()[0].hr)
    upscale = Upscaler(args.model, pre_pad=8)
    process, address = started(args.model, args.workers)
    print(f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, {args.clients} clients\n")
    print("| LR | one process, images/s | service, images/s | service / process |\n|---|---:|---:|---:|")
    try:
        for side in args.sides:
            place = torch.randint(0, min(photo.shape[-2:]) - side, (args.images, 2)).tolist()
            files = [encode_image(photo[:, y : y + side, x : x + side], ".png") for y, x in place]

            def here(data: bytes) -> None:
                photo = read_photo(io.BytesIO(data))
                encode_image(upscale.upscale(photo.pixels), ".png")

            def there(data: bytes) -> None:
                answer = requests.post(f"{address}/upscale", files={"image": data}, timeout=600)
                answer.raise_for_status()

            here(files[0])
            there(files[0])
            seconds: dict[str, list[float]] = {"here": [], "there": []}
            with ThreadPoolExecutor(args.clients) as clients:
                for _ in range(args.rounds):
                    start = time.perf_counter()
                    for data in files:
                        here(data)
                    seconds["here"].append(time.perf_counter() - start)
                    start = time.perf_counter()
                    list(clients.map(there, files))
                    seconds["there"].append(time.perf_counter() - start)
            ratio = statistics.median(a / b for a, b in zip(seconds["here"], seconds["there"], strict=True))
            rates = [args.images / statistics.median(each) for each in seconds.values()]
            print(f"| {side}×{side} | {rates[0]:.1f} | {rates[1]:.1f} | {ratio:.2f} |")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
