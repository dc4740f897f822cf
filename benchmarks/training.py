"""How long does an update take, and how much does it keep in memory? Against a plain loop and BasicSR.

This library's update runs as it does in training: ``preset=basicsr`` from ``conf/``, the real stage, inside
Lightning's loop. The others, with the same weights and on the same batch, take their turn between two of its
updates, so that each round is a pair: what slows the machine slows both. The first update of each is not
timed; its losses have to be equal (fp32: to rounding; half precision: within 0.5 %).

    python benchmarks/training.py --stage gan --batch 16
    python benchmarks/training.py --stage psnr --set trainer.precision=bf16 generator.checkpointing=true
    python benchmarks/training.py --processes 2        # images/s of one and of N processes
    python benchmarks/training.py --overhead           # what Lightning costs
    python benchmarks/training.py --quick              # everything at a tiny size, in seconds

BasicSR takes part where it is installed (``pip install --no-deps basicsr addict lmdb yapf future``).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from _contest import OURS, Contest
from _measure import gemm_peak, paired_ratio, synchronize
from _rivals import Rival, basicsr, plain
from _runs import DEVICE, DTYPES, Clock, CountOperations, batch_of, build, fit, repeated

from esrgan_lightning.run.metrics_csv import MetricsCSV
from esrgan_lightning.run.speed import speed_up
from esrgan_lightning.run.trainer import build_trainer
from esrgan_lightning.stages import GANStage, PSNRStage

# Milliseconds: Lightning's share is then what is seen.
TINY = {
    "psnr": ["generator.num_features=4"],
    "gan": ["generator.num_features=4", "discriminator.num_features=4"],
}
TINY["gan"] += ["data.patch_size=32", "loss.weights.perceptual=0"]
BLOCK = 10 if DEVICE == "cuda" else 1  # updates in a turn: the first turn ends after a graph was recorded
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def rivals_of(stage: PSNRStage | GANStage, names: list[str]) -> list[Rival]:
    """Those asked for that can take part here."""
    makers = {"plain": plain, "basicsr": basicsr}
    found = [makers[name](stage) for name in names]
    if None in found:
        print("BasicSR is not installed: it does not take part")
    return [rival for rival in found if rival is not None]


def contest(args: argparse.Namespace) -> None:
    """The table: time, ratio, memory and share of the peak, after a check of the losses."""
    stage, settings = build(args)
    rivals = rivals_of(stage, args.rivals)
    speed_up(stage, settings)
    precision = settings.resolved_precision()
    batch, rounds = batch_of(args.batch), Contest(rivals, DEVICE, CLOCKS[args.clock], block=BLOCK)
    fit(stage, settings, batch, (args.rounds + 1) * BLOCK, rounds)
    check_losses(rounds.losses, 1e-4 if precision == "32-true" else 5e-3)

    # The operations of the plain form: what a graph or a kernel of its own does, nobody counts.
    plainly = argparse.Namespace(
        **vars(args) | {"set": [*args.set, "trainer.cuda_graphs=false", "trainer.gpu_kernels=false"]}
    )
    counted, settings = build(plainly)
    speed_up(counted, settings)
    operations = CountOperations()
    fit(counted, settings, batch_of(1), 1, operations)
    work = operations.total * args.batch
    size = 1024 if args.quick else 4096 if DEVICE == "cpu" else 8192
    peaks = {OURS: gemm_peak(DEVICE, DTYPES[precision], size=size, clock=CLOCKS[args.clock])}
    peaks |= dict.fromkeys(
        (rival.name for rival in rivals),
        gemm_peak(DEVICE, torch.float32, size=size, clock=CLOCKS[args.clock]),
    )

    print(
        f"{args.stage} update, batch {args.batch}, {precision}, {' '.join(args.set) or 'defaults'}, {DEVICE},"
    )
    print(
        f"{torch.get_num_threads()} threads, {args.rounds} rounds; "
        f"{work / args.batch / 1e9:.1f} GFLOP an image"
    )
    print(f"|  | {args.clock} s/update | images/s | × faster (paired) | kept for backward | of GEMM peak |")
    print("|---|---|---|---|---|---|")
    for name, seconds in rounds.seconds.items():
        median = statistics.median(seconds)
        ratio = paired_ratio(seconds, rounds.seconds[OURS])
        share = work / median / peaks[name]
        print(
            f"| {name} | {median:.4g} | {args.batch / median:.2f} | {ratio:.2f} "
            f"| {rounds.saved[name].peak / 2**20:.0f} MiB | {share:.0%} of {peaks[name] / 1e12:.2f} TFLOP/s |"
        )
    for name in rounds.peak:
        print(
            f"peak GPU memory in an update of {name}: {rounds.peak[name] / 2**20:.0f} MiB, "
            "everybody's networks included"
        )


def check_losses(losses: dict[str, dict[str, float]], tolerance: float) -> None:
    """Everybody's losses of the first update, relative to the plain loop's or BasicSR's."""
    for name, theirs in losses.items():
        for term, value in theirs.items():
            mine = losses[OURS][term]
            if abs(mine - value) > tolerance * abs(value):
                raise SystemExit(f"first update: {term} is {mine} here and {value} of {name}")


def peak_memory(args: argparse.Namespace, argv: list[str]) -> None:
    """Most memory of a process that does one update, one process each: CPU."""
    for name in ("nobody", OURS, *args.rivals):
        command = [sys.executable, __file__, *argv, "--peak-of", name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"peak memory of a process, one update of {name}: {int(out.split()[-1]) / 2**10:.0f} MiB")


def peak_of(args: argparse.Namespace) -> None:
    """One update of one contender; prints the process's largest size in KiB."""
    stage, settings = build(args)
    if args.peak_of == OURS:
        speed_up(stage, settings)
        fit(stage, settings, batch_of(args.batch), 1)
    elif args.peak_of != "nobody":
        for rival in rivals_of(stage, [args.peak_of]):
            rival.update(batch_of(args.batch))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def scaling(args: argparse.Namespace) -> None:
    """Images per second of one process and of N, each with the same batch and the same share of the cores."""
    args.set = [*args.set, "trainer.cuda_graphs=false"]  # several processes have none
    threads = max(1, torch.get_num_threads() // (args.processes if DEVICE == "cpu" else 1))
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        for processes in (1, args.processes):
            stage, settings = build(args)
            speed_up(stage, settings)
            file = Path(folder) / str(processes)
            clock = Clock(file, threads)
            fit(stage.cpu(), settings, batch_of(args.batch), args.rounds + 2, clock, processes=processes)
            rates[processes] = processes * args.batch / json.loads(file.read_text())
    efficiency = rates[args.processes] / rates[1] / args.processes
    print(f"{args.stage}, batch {args.batch} a process, {threads} threads each, {DEVICE}:")
    print(" · ".join(f"{count} processes {rate:.2f} images/s" for count, rate in rates.items()), end=" · ")
    print(f"efficiency {efficiency:.0%}")


def overhead(args: argparse.Namespace) -> None:
    """Lightning's loop, logging and bar in an update of tiny networks, as a share of the full one's time."""
    updates, batch = 100, batch_of(2, side=8)
    tiny = argparse.Namespace(**vars(args) | {"quick": True, "set": [*args.set, *TINY[args.stage]]})
    tiny.set.append(f"trainer.max_updates={updates}")
    with tempfile.TemporaryDirectory() as folder:
        stage, settings = build(tiny)
        loop = plain(stage)
        clock = Clock(Path(folder) / "clock", torch.get_num_threads())
        log = MetricsCSV(Path(folder) / "metrics.csv")
        trainer = build_trainer(settings, stage, Path(folder), [log], [clock], batch_size=1)
        trainer.fit(stage, repeated(batch, updates))
        inside = json.loads((Path(folder) / "clock").read_text())
    seconds = []
    on_device = {key: value.to(DEVICE) for key, value in batch.items()}
    for _ in range(updates):
        start = time.perf_counter()
        loop.update(on_device)
        synchronize(DEVICE)
        seconds.append(time.perf_counter() - start)
    extra = inside - statistics.mean(seconds[2:])
    stage, settings = build(args)
    speed_up(stage, settings)
    full = Contest([], DEVICE, block=BLOCK)
    fit(stage, settings, batch_of(args.batch), (args.rounds + 1) * BLOCK, full)
    update = statistics.median(full.seconds[OURS])
    print(
        f"tiny networks: {inside * 1e3:.1f} ms an update inside Lightning, "
        f"{(inside - extra) * 1e3:.1f} ms bare;"
    )
    print(f"{args.stage} update, batch {args.batch}: {update:.3f} s; Lightning's share {extra / update:.2%}")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=("psnr", "gan"), default="gan")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="cpu where others use the machine too"
    )
    parser.add_argument("--rivals", nargs="*", choices=("plain", "basicsr"), default=["plain", "basicsr"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of esrgan-train")
    parser.add_argument("--processes", type=int, default=1, help="scaling from 1 to N processes")
    parser.add_argument("--overhead", action="store_true", help="Lightning's share of an update")
    parser.add_argument("--peak-memory", action="store_true", help="of a process, on the CPU")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="tiny networks, batch 2, one round")
    args = parser.parse_args(argv)
    if args.quick:
        args.batch, args.rounds = 2, 1
    # Lightning's advice on workers and its notes on a run without logger.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    if args.peak_of:
        peak_of(args)
    elif args.processes > 1:
        scaling(args)
    elif args.overhead:
        overhead(args)
    elif args.peak_memory:
        peak_memory(args, argv)
    else:
        contest(args)


if __name__ == "__main__":
    main(sys.argv[1:])
