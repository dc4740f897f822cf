"""What is wrong is told before torch is loaded, which takes seconds; so are help and version."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAINS = {
    "esrgan": "esrgan_lightning.cli.app",
    "esrgan-train": "esrgan_lightning.cli.train",
    "esrgan-evaluate": "esrgan_lightning.cli.evaluate",
}


def run(folder, command, *words):
    """Its exit code and output in a process that cannot import torch."""
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]\n"
        f"from {MAINS[command]} import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, *words], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("esrgan upscale none.png", "none.png does not exist"),
        ("esrgan upscale a.png -m none.pth", "none.pth: there is no such file"),
        ("esrgan upscale a.png -m page.pth", "page.pth is a web page"),
        ("esrgan upscale a.png -m gam", "did you mean gan?"),
        ("esrgan upscale a.png -o big.gif", "-o big.gif: .gif is not written"),
        ("esrgan upscale a.png --format gif", "--format gif must be one of"),
        ("esrgan upscale b -o out", "b/1.jpg and b/1.png would become out/1.png; b/2.jpg and b/2.png would"),
        ("esrgan interpolate psnr none.pth -o x.safetensors", "none.pth: there is no such file"),
        ("esrgan alpha-sweep psnr none.pth -o out a.png", "none.pth: there is no such file"),
        ("esrgan upscale --model=~/none.pth a.png", f"{Path.home()}/none.pth: there is no such file"),
        ("esrgan report ~/none", f"{Path.home()}/none: there is no such folder"),
        ("esrgan upscale a.png -o~/big.gif", f"-o {Path.home()}/big.gif: .gif is not written"),
        ("esrgan inspect none.pth", "none.pth: there is no such file"),
        ("esrgan convert none.pth -o x.pth --to basicsr", "none.pth: there is no such file"),
        ("esrgan export none.pth -o x.onnx", "none.pth: there is no such file"),
        ("esrgan segment none.png -o maps", "none.png does not exist"),
        ("esrgan report runs/none", "runs/none: there is no such folder"),
        ("esrgan ui --gan none.pth", "none.pth: there is no such file"),
        ("esrgan-train stage=psnr name=taken", "runs/taken already holds checkpoints"),
        ("esrgan-train stage=gan init=none.ckpt", "none.ckpt: there is no such file"),
        ("esrgan-train stage=gan init=gam", "did you mean gan?"),
        ("esrgan-train stage=psnr data=folder data.train_dir=none", "data.train_dir=none: there is no such"),
        ("esrgan-train stage=psnr data=folder data.train_dir=[~/none,b]", f"={Path.home()}/none: there is"),
        ("esrgan-train stage=psnr +nothing=1", "nothing: there is no such key"),
        ("esrgan-train stage=psnr optimizer.lr=-1", "optimizer.lr=-1 must be a number of at least 0"),
        ("esrgan-train stage=psnr optimizer.lr=nan", "optimizer.lr=nan must be a number of at least 0"),
        ("esrgan-train stage=psnr optimizer.lr=1e-4x", "optimizer.lr=1e-4x must be a number"),
        ("esrgan-train stage=psnr trainer.max_updates=ten", "trainer.max_updates=ten: Input should be"),
        ("esrgan-train stage=psnr objective=niqe", "objective=niqe: say what is optimised, one of psnr_y"),
        ("esrgan-train stage=psnr metrics=[psnr_y,vmaf]", "metrics: vmaf; known are psnr_y"),
        ("esrgan-evaluate models=[psnr] root=b metrics=vmaf", "metrics: vmaf; known are psnr_y"),
        ("esrgan-evaluate models=[none.pth] root=b", "none.pth: there is no such file"),
        ("esrgan-evaluate models=[psnr] root=~/none", f"root={Path.home()}/none is not a folder"),
        ("esrgan-evaluate models=[psnr] root=none", "root=none is not a folder"),
        ("esrgan-evaluate models=[psnr] root=b against=none.json", "against=none.json cannot be read"),
    ],
)
def test_what_is_wrong_is_told_at_once(tmp_path, words, says):
    for path in ("a.png", "b/1.jpg", "b/1.png", "b/2.jpg", "b/2.png", "runs/taken/checkpoints/last.ckpt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "page.pth").write_text("<html>")
    code, _, told = run(tmp_path, *words.split())
    assert (code, says in told, len(told.splitlines())) == (2, True, 1), told
    assert [*tmp_path.glob("runs/*")] == [tmp_path / "runs/taken"]  # no folder of a refused run


@pytest.mark.parametrize(
    "words", ["esrgan --help", "esrgan upscale --help", "esrgan --version", "esrgan-train --help"]
)
def test_help_and_version(tmp_path, words):
    code, said, told = run(tmp_path, *words.split())
    assert (code, bool(said), told) == (0, True, "")


@pytest.mark.parametrize(
    "words", ["esrgan models --json", "esrgan-train --cfg job", "esrgan-evaluate --help"]
)
def test_a_reader_that_has_left_is_no_traceback(tmp_path, words):
    """As in ``esrgan-train --cfg job | head``."""
    command, *rest = words.split()
    read, write = os.pipe()
    os.close(read)
    code = f"from {MAINS[command]} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *rest], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
