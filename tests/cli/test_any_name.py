"""Folders and files whose names are no UTF-8, from training to upscaling, on a terminal that is ASCII."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import PSNR

# All commands in one process: torch is imported once.
COMMANDS = """
import importlib, os, sys
for line in sys.stdin.buffer.read().split(b"\\n"):
    module, *sys.argv = map(os.fsdecode, line.split(b"\\0"))
    try:
        importlib.import_module(f"esrgan_lightning.cli.{module}").main()
    except SystemExit as end:
        assert not end.code, (sys.argv, end.code)
"""


def photos(folder, number, side):
    folder.mkdir(parents=True)
    for index in range(number):
        levels = np.random.default_rng(index).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(levels).save(folder / os.fsdecode(b"lat\xe9in%d.png" % index))


@pytest.mark.slow
def test_names_that_are_no_utf_8_from_training_to_upscaling(tmp_path):
    """Breaks if such a name cannot be given, logged, kept, compared with or read back."""
    here = Path(tmp_path, os.fsdecode(b"w\xf6rk"))
    try:
        photos(here / os.fsdecode(b"ph\xe9tos"), 3, 64)
    except OSError:
        pytest.skip("this file system has no such names")
    photos(here / os.fsdecode(b"s\xe9ts/\xe9tude/HR"), 2, 64)
    train = ["train", "esrgan-train", "stage=psnr", "preset=demo", "data=folder", "name=a", *PSNR]
    train += [b"data.train_dir=[ph\xe9tos]", b"data.val_dir=s\xe9ts", "schedule.updates=2"]
    model = "runs/a/generator.safetensors"
    evaluate = ["evaluate", "esrgan-evaluate", "bicubic=true", f"models={model}", "metrics=psnr_y"]
    evaluate += [b"root=s\xe9ts", b"sets=\xe9tude", "device=cpu"]
    commands = [
        train,
        [*train, "trainer.max_updates=3", "resume=last"],
        ["app", "esrgan", "report", "runs/a", "-o", b"r\xe9port.html"],
        [*evaluate, b"out=\xf6ut/"],
        [*evaluate, b"against=\xf6ut/evaluation.json", "out=again.json"],
        ["app", "esrgan", "upscale", "-m", model, b"s\xe9ts", "-o", b"\xf6up"],
    ]
    given = b"\n".join(b"\0".join(map(os.fsencode, words)) for words in commands)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=here,
        input=given,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Error" in done.stderr, b"Traceback" in done.stderr) == (0,) * 3, done.stderr
    results = json.loads((here / "again.json").read_text("utf-8"))
    assert json.dumps(results, ensure_ascii=False).encode()  # of text that UTF-8 holds
    assert list(results[r"\udce9tude"]["bicubic"]["images"]) == [r"lat\udce9in0", r"lat\udce9in1"]
    assert (here / os.fsdecode(b"r\xe9port.html")).is_file()
    assert (here / os.fsdecode(b"\xf6up/\xe9tude/HR/lat\xe9in1.png")).is_file()
