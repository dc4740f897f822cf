"""Generators as ncnn's pair of files, ``.param`` and ``.bin``."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.export.archives import write_traced
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.networks.rrdb import pad_to_fold

# What the ncnn upscalers (realesrgan-ncnn-vulkan, upscayl) ask a network for.
INPUT, OUTPUT = "data", "output"


def write_ncnn(generator: nn.Module, path: Path, *, half: bool, channels: int) -> None:
    """Writes ``path`` (.param) and the .bin beside it, through pnnx, with weights in float16 if ``half``.

    ncnn has no arithmetic on sizes: a network that folds pixels takes multiples of its fold alone.

    Raises:
        InputError: The extra ``ncnn`` is not installed, or pnnx does not convert the network.
    """
    try:
        from pnnx import EXEC_PATH
    except ImportError as error:
        raise needs_extra("ncnn files need", "ncnn") from error
    folder = path.parent / "pnnx"
    folder.mkdir()
    write_traced(_Aligned(generator), torch.zeros(1, channels, 16, 20), folder / "net.pt", {})
    # Two shapes: what differs between them is free.
    shapes = [f"inputshape=[1,{channels},16,20]f32", f"inputshape2=[1,{channels},24,28]f32"]
    done = subprocess.run(
        [EXEC_PATH, "net.pt", *shapes, f"fp16={int(half)}"], cwd=folder, capture_output=True, text=True
    )
    written = folder / "net.ncnn.param"
    text = written.read_text("utf-8") if written.exists() else ""
    kinds = [line.split()[0] for line in text.splitlines()[2:]]
    foreign = [kind for kind in kinds if not kind.isalnum()]  # what ncnn lacks keeps a name as in aten::sort
    if done.returncode or foreign or not kinds:
        lines = [*foreign, *(done.stderr or done.stdout).strip().splitlines()[-1:], "no file was written"]
        raise InputError(f"pnnx does not convert this network: {lines[0]}")
    path.write_text(_renamed(text), "utf-8")
    (folder / "net.ncnn.bin").rename(path.with_suffix(".bin"))


def run_ncnn(path: Path, generator: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function inside a pair of our own, on the CPU: (B,C,h,w) → (B,C,s·h,s·w), as the generator's.

    Raises:
        InputError: ncnn does not read it.
    """
    import ncnn

    net = ncnn.Net()
    # Arithmetic in float32, also where the weights are stored in half of it.
    net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise InputError(f"{path.name}: ncnn does not read it")
    scale, fold = cast(int, generator.scale), int(getattr(generator, "fold", 1))

    def run(x: Tensor) -> Tensor:
        made = []
        for image in pad_to_fold(x, fold):
            extractor, array = net.create_extractor(), image.contiguous().numpy()
            extractor.input(INPUT, ncnn.Mat(array))  # which does not keep the array alive
            code, sr = extractor.extract(OUTPUT)
            if code:
                raise InputError(f"{path.name}: ncnn does not run it on {tuple(image.shape)} (code {code})")
            made.append(torch.from_numpy(np.array(sr)))
        return torch.stack(made)[..., : scale * x.shape[-2], : scale * x.shape[-1]]

    return run


class _Aligned(nn.Module):
    """The network without the filling up and cropping, for sizes that its fold divides."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        net = self.generator
        sr: Tensor = net.forward_aligned(x) if isinstance(net, RRDBNet) else net(x)
        return sr


def _renamed(text: str) -> str:
    r"""The blobs in0 and out0 under the names that upscalers ask for; columns keep their places.

    >>> _renamed("7767517\n1 2\nReLU  relu_0  1 1 in0 out0 0=0.2\n")
    '7767517\n1 2\nReLU  relu_0  1 1 data output 0=0.2\n'
    """
    names = {"in0": INPUT, "out0": OUTPUT}
    head, *layers = text.splitlines()
    lines = [head]
    for line in layers:
        words = line.split(" ")
        lines.append(" ".join(names.get(word, word) for word in words))
    return "\n".join(lines) + "\n"
