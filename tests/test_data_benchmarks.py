"""A benchmark of data still runs; its figures are not judged here, and `make bench` runs the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
QUICK = {"containers": ["--photos", "1", "--crops", "4", "--rounds", "1"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_runs_and_prints_its_table(name, tmp_path):
    """Breaks if a benchmark no longer fits the library that it measures."""
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *QUICK[name]],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3
    assert list(tmp_path.iterdir()) == []
