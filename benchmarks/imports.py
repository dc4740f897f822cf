"""What `import esrgan_lightning` costs beside `import torch`: fresh interpreters, one after the other."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

PROGRAM = """
import time
start = time.perf_counter()
import torch
between = time.perf_counter()
import esrgan_lightning
print(between - start, time.perf_counter() - between)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three interpreters in place of fifteen")
    turns = 3 if parser.parse_args(arguments).quick else 15
    pairs = []
    for _ in range(turns):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        pairs.append([1000 * float(seconds) for seconds in done.stdout.split()])
    torch, ours = (median(times) for times in zip(*pairs, strict=True))
    print(f"median of {turns} fresh interpreters, files in the page cache")
    print(f"  import torch                 {torch:9.1f} ms")
    print(f"  then import esrgan_lightning {ours:9.1f} ms")


if __name__ == "__main__":
    main()
