"""The benchmarks of training and of upscaling at their quick size: they run, and their books balance."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """``benchmark("training")`` → the module of that name in benchmarks/."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def row(table, name):
    return [
        cell.strip() for cell in next(line for line in table.splitlines() if f"| {name}" in line).split("|")
    ]


@pytest.mark.parametrize("stage", ["psnr", "gan"])
def test_quick_contest(benchmark, capsys, stage):
    """The first update's losses equal the plain loop's, and less is kept for backward than there."""
    benchmark("training").main(
        ["--quick", "--stage", stage, "--rivals", "plain", "--set", "trainer=cpu", "trainer.precision=32"]
    )
    table = capsys.readouterr().out
    ours, theirs = row(table, "this library"), row(table, "plain loop")
    assert float(ours[4]) == 1.0
    assert int(ours[5].split()[0]) < int(theirs[5].split()[0])


def test_unequal_losses_end_the_contest(benchmark):
    """A faster update of something else is no result."""
    check = benchmark("training").check_losses
    check({"this library": {"pixel": 1.0, "d": 2.0}, "other": {"pixel": 1.00001}}, 1e-4)
    with pytest.raises(SystemExit, match=r"pixel is 1\.0 here and 1\.1 of other"):
        check({"this library": {"pixel": 1.0}, "other": {"pixel": 1.1}}, 1e-4)


def test_saved_bytes_against_a_count_by_hand(benchmark):
    """Parameters count nothing, a storage once however often it is saved, and what is freed is taken off."""
    book = benchmark("_measure").SavedBytes()
    layer = nn.Linear(8, 8, bias=False)
    x = torch.zeros(4, 8, requires_grad=True)
    with book.watch(layer.parameters()):
        y = layer(x).exp()  # Linear saves x, exp its result
        assert book.now == 2 * x.nbytes
        z = y * y  # the same storage twice more
        assert book.now == 2 * x.nbytes
        z.sum().backward()
    assert (book.now, book.peak) == (0, 2 * x.nbytes)


def test_paired_ratio_is_the_median_of_rounds(benchmark):
    """One disturbed round must not move the figure, a slow machine neither."""
    assert benchmark("_measure").paired_ratio([2.0, 40.0, 600.0], [1.0, 20.0, 3.0]) == 2.0


@pytest.mark.slow
def test_quick_upscaling(benchmark, capsys):
    """Every way gives the picture of the whole; the rival, too, or it is another network that is timed."""
    benchmark("inference").main(["--quick", "--ways", "whole", "exact"])
    table = capsys.readouterr().out
    for name in ("whole", "exact"):
        assert int(row(table, name)[8]) <= 1
        assert int(row(table, name)[6].split()[0]) >= 0


def test_quick_files(benchmark, capsys):
    """Both ways give the same pictures, or it is another work that is timed."""
    benchmark("files").main(["--quick"])
    table = capsys.readouterr().out
    assert int(re.search(r"differ by (\d+) levels", table)[1]) <= 1
    assert float(row(table, "by turns")[3]) == 1.0
    assert float(row(table, "level 1")[3]) > float(row(table, "level 6")[3])  # level 6 makes the smaller file


def test_quick_scale(benchmark, capsys):
    """A pack of ten times the photos takes no ten times the bytes of each."""
    benchmark("scale").main(["--quick"])
    table = capsys.readouterr().out
    assert 0 < float(row(table, "100 ")[5]) <= float(row(table, "10 ")[5])
    assert re.search(r"1 processes: [\d.]+ ms an update", table)


@pytest.mark.slow
def test_quick_learning(benchmark, capsys, tmp_path):
    """A tiny network that starts as an enlargement and learns smooth noise is soon above bicubic."""
    benchmark("learning").main(["--quick", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    reached = float(re.findall(r"([\d.]+) dB \|", printed)[-1])
    assert reached > float(re.search(r"bicubic ([\d.]+) dB", printed)[1])
    assert float((tmp_path / "learning.csv").read_text().split(",")[-1]) == pytest.approx(reached, abs=0.01)
    assert (tmp_path / "learning.png").stat().st_size > 1000


def test_errors_of_upscaling_are_levels(benchmark):
    """Bytes that wrap around would call black and white neighbours."""
    black, white = torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    white[..., 0, 0] = 255
    assert benchmark("inference").errors(black, white) == (255 / 4, 255)


def test_peak_memory_is_of_the_process_alone(benchmark):
    """What the parent once had must not hide what the child takes."""
    parents = torch.ones(300 << 18)
    code = "from _measure import peak_memory; import torch; before = peak_memory(); torch.ones(100 << 18); "
    code += "print(before, peak_memory())"
    before, after = map(int, subprocess.check_output([sys.executable, "-c", code], cwd=FOLDER).split())
    assert 95 << 20 < after - before < 130 << 20
    del parents


def test_the_cost_of_the_import_is_printed(benchmark, capsys):
    benchmark("imports").main(["--quick"])
    assert re.search(r"then import esrgan_lightning +\d+\.\d ms", capsys.readouterr().out)
